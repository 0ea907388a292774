"""The durable record of a study, over Optuna's ask and tell.

Names are imported when they are asked for: who reads how far a study is
needs no networks and no Optuna storage.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpstudy.ledger.address import database, database_url, file_of, shown, sqlite_url
    from lpstudy.ledger.book import Book, stored
    from lpstudy.ledger.lease import BEAT, STALE, FencedError, HeldError, Lease, alive, read, wish
    from lpstudy.ledger.lease_row import WISHES, Wish
    from lpstudy.ledger.ledger import CANCELLED, Ledger, dump
    from lpstudy.ledger.optuna_storage import Storage
    from lpstudy.ledger.outline import names, rename, standing_of
    from lpstudy.ledger.records import Assignment, Done, Kind, Record, State, Waiting
    from lpstudy.ledger.samplers import check_searched, importances
    from lpstudy.ledger.standing import SEARCH_SEED, Standing
    from lpstudy.ledger.storage import (
        UNAVAILABLE,
        UnwritableError,
        engine_at,
        opened,
        patiently,
    )

_MODULES = {
    "address": ("database", "database_url", "file_of", "shown", "sqlite_url"),
    "book": ("Book", "stored"),
    "lease": ("BEAT", "STALE", "FencedError", "HeldError", "Lease", "alive", "read", "wish"),
    "lease_row": ("WISHES", "Wish"),
    "ledger": ("CANCELLED", "Ledger", "dump"),
    "optuna_storage": ("Storage",),
    "outline": ("names", "rename", "standing_of"),
    "records": ("Assignment", "Done", "Kind", "Record", "State", "Waiting"),
    "samplers": ("check_searched", "importances"),
    "standing": ("SEARCH_SEED", "Standing"),
    "storage": ("UNAVAILABLE", "UnwritableError", "engine_at", "opened", "patiently"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

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
    "Standing",
    "State",
    "Storage",
    "UnwritableError",
    "Waiting",
    "Wish",
    "alive",
    "check_searched",
    "database",
    "database_url",
    "dump",
    "engine_at",
    "file_of",
    "importances",
    "names",
    "opened",
    "patiently",
    "read",
    "rename",
    "shown",
    "sqlite_url",
    "standing_of",
    "stored",
    "wish",
]


def __getattr__(name: str) -> Any:
    """The name's value, from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
