"""The durable record of a study, over Optuna's ask and tell.

Names are imported when they are asked for: who reads how far a study is
needs no networks and no Optuna storage.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpstudy.ledger.address import database, database_url, display_url, file_of, sqlite_url
    from lpstudy.ledger.lease import (
        HEARTBEAT_SECONDS,
        STALE_SECONDS,
        FencedError,
        HeldError,
        Lease,
        alive,
        read,
        send_request,
    )
    from lpstudy.ledger.lease_row import REQUESTS, Request
    from lpstudy.ledger.ledger import CANCELLED, Ledger, dump
    from lpstudy.ledger.optuna_storage import Storage
    from lpstudy.ledger.outline import names, rename, standing_of
    from lpstudy.ledger.reader import LedgerReader, stored
    from lpstudy.ledger.records import Assignment, Done, Kind, Record, State, Waiting
    from lpstudy.ledger.samplers import check_searched, importances
    from lpstudy.ledger.standing import SEARCH_SEED, Standing
    from lpstudy.ledger.storage import (
        UNAVAILABLE,
        UnwritableError,
        engine_at,
        open_storage,
        retry_while_locked,
    )

_MODULES = {
    "address": ("database", "database_url", "file_of", "display_url", "sqlite_url"),
    "reader": ("LedgerReader", "stored"),
    "lease": (
        "HEARTBEAT_SECONDS",
        "STALE_SECONDS",
        "FencedError",
        "HeldError",
        "Lease",
        "alive",
        "read",
        "send_request",
    ),
    "lease_row": ("REQUESTS", "Request"),
    "ledger": ("CANCELLED", "Ledger", "dump"),
    "optuna_storage": ("Storage",),
    "outline": ("names", "rename", "standing_of"),
    "records": ("Assignment", "Done", "Kind", "Record", "State", "Waiting"),
    "samplers": ("check_searched", "importances"),
    "standing": ("SEARCH_SEED", "Standing"),
    "storage": ("UNAVAILABLE", "UnwritableError", "engine_at", "open_storage", "retry_while_locked"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CANCELLED",
    "HEARTBEAT_SECONDS",
    "REQUESTS",
    "SEARCH_SEED",
    "STALE_SECONDS",
    "UNAVAILABLE",
    "Assignment",
    "Done",
    "FencedError",
    "HeldError",
    "Kind",
    "Lease",
    "Ledger",
    "LedgerReader",
    "Record",
    "Request",
    "Standing",
    "State",
    "Storage",
    "UnwritableError",
    "Waiting",
    "alive",
    "check_searched",
    "database",
    "database_url",
    "display_url",
    "dump",
    "engine_at",
    "file_of",
    "importances",
    "names",
    "open_storage",
    "read",
    "rename",
    "retry_while_locked",
    "send_request",
    "sqlite_url",
    "standing_of",
    "stored",
]


def __getattr__(name: str) -> Any:
    """The name's value, from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
