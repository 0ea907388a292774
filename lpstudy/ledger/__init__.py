"""The durable record of a study, over Optuna's ask and tell."""

from lpstudy.ledger.book import SEARCH_SEED, Book, database, stored
from lpstudy.ledger.ledger import Done, Ledger, Waiting, dump
from lpstudy.ledger.records import Assignment, Kind, Record, State
from lpstudy.ledger.samplers import importances

__all__ = [
    "SEARCH_SEED",
    "Assignment",
    "Book",
    "Done",
    "Kind",
    "Ledger",
    "Record",
    "State",
    "Waiting",
    "database",
    "dump",
    "importances",
    "stored",
]
