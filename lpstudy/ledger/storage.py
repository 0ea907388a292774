"""The database under a ledger: opened, and written with patience where another process has locked it."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from lpstudy.redaction import without_credentials

Storage = RDBStorage
T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which a write is tried again before the study pauses."""
LOCK_SECONDS = 5.0
"""How long SQLite itself waits for a lock, within one try."""
LONGEST_PAUSE = 2.0
LOCKED = ("is locked", "deadlock detected", "could not serialize", "lock timeout")
"""What SQLite and PostgreSQL say of a lock; nothing of the transaction has been written then."""


class UnwritableError(Exception):
    """The ledger cannot be written now: the study must pause until that is mended."""


def shown(url: str) -> str:
    """A database's address for messages: without user and password; of a file its path."""
    return without_credentials(url).removeprefix("sqlite:///")


def opened(url: str) -> RDBStorage:
    """Optuna's storage at an SQLAlchemy URL, made where it is new.

    `postgresql://` means the driver psycopg 3.

    Raises:
        ValueError: The URL is none, its driver is not installed, or what is there is no ledger.
        UnwritableError: Another process keeps it locked.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sqlite = url.startswith("sqlite")
    kwargs = {"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else {"pool_pre_ping": True}
    spelt = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        return patiently(lambda: RDBStorage(spelt, engine_kwargs=kwargs), shown(url))
    except (ImportError, NoSuchModuleError, ArgumentError) as error:
        hint = "; install lpstudy[postgres]" if "psycopg" in str(error) else ""
        raise ValueError(f"the ledger {shown(url)}: {_line(error)}{hint}") from None
    except (SQLAlchemyError, RuntimeError) as error:
        raise ValueError(f"the ledger {shown(url)} cannot be read: {_line(error)}") from None


def engine_of(storage: optuna.storages.BaseStorage) -> sqlalchemy.Engine:
    """Of an opened storage; Optuna wraps a cache around it when it makes a study."""
    inner: Any = getattr(storage, "_backend", storage)
    engine: sqlalchemy.Engine = inner.engine
    return engine


def patiently(write: Callable[[], T], where: str, *, repeatable: bool = True, seconds: float = PATIENCE) -> T:
    """Write, and again with growing pauses of random length while the database is locked or does not answer.

    Args:
        write: One transaction.
        where: The database, as messages name it.
        repeatable: Whether it may be done twice: after a lost connection nobody knows whether it was done.
        seconds: How long.

    Raises:
        UnwritableError: It is locked for longer, cannot be reached, or its disk is full.
    """
    began, pause = time.monotonic(), 0.05
    while True:
        try:
            return write()
        except (StorageInternalError, OperationalError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            if not isinstance(cause, OperationalError):
                raise
            said = _line(cause)
            locked = any(words in said for words in LOCKED)
            taken = time.monotonic() - began
            again = locked or (repeatable and cause.connection_invalidated)
            if not again or taken >= seconds:
                after = f" for {taken:.0f} s" if taken > 1 else ""
                raise UnwritableError(f"the ledger {where} cannot be written{after}: {said}") from error
        time.sleep(random.uniform(0.5, 1.0) * pause)  # two that wait for each other must not stay in step
        pause = min(2 * pause, LONGEST_PAUSE)


def database(folder: Path) -> str:
    """URL of the ledger in a study's folder."""
    return f"sqlite:///{folder / 'ledger.db'}"


def _line(error: BaseException) -> str:
    """The first line of what the driver said, without credentials."""
    inner = getattr(error, "orig", None) or error
    return without_credentials((str(inner).strip() or type(inner).__name__).splitlines()[0])[:300]
