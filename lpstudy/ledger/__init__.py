"""The durable record of a study, over Optuna's ask and tell."""

from lpstudy.ledger.address import database, database_url, file_of, shown, sqlite_url
from lpstudy.ledger.book import SEARCH_SEED, Book, names, rename, stored
from lpstudy.ledger.lease import BEAT, STALE, WISHES, FencedError, HeldError, Lease, Wish, alive, read, wish
from lpstudy.ledger.ledger import CANCELLED, Done, Ledger, Waiting, dump
from lpstudy.ledger.records import Assignment, Kind, Record, State
from lpstudy.ledger.samplers import importances
from lpstudy.ledger.storage import UNAVAILABLE, Storage, UnwritableError, opened, patiently

__all__ = [
    "BEAT",
    "CANCELLED",
    "SEARCH_SEED",
    "STALE",
    "UNAVAILABLE",
    "WISHES",
    "Assignment",
    "Book",
    "Done",
    "FencedError",
    "HeldError",
    "Kind",
    "Lease",
    "Ledger",
    "Record",
    "State",
    "Storage",
    "UnwritableError",
    "Waiting",
    "Wish",
    "alive",
    "database",
    "database_url",
    "dump",
    "file_of",
    "importances",
    "names",
    "opened",
    "patiently",
    "read",
    "rename",
    "shown",
    "sqlite_url",
    "stored",
    "wish",
]
