"""Transactions repeated while the ledger's database is locked or does not answer."""

import random
import shutil
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from lpstudy.one_line import first_line
from lpstudy.redaction import without_credentials

T = TypeVar("T")

RETRY_SECONDS = 30.0
"""Seconds for which a write is retried before the study pauses."""
MAX_PAUSE_SECONDS = 2.0
"""The longest pause between two attempts."""
LOCK_MESSAGES = ("is locked", "deadlock detected", "could not serialize", "lock timeout")
"""Texts in the lock errors of SQLite and PostgreSQL; nothing of the transaction is then written."""
LOCK_STATES = ("40P01", "40001", "55P03")
"""PostgreSQL's codes of lock errors, for a server with messages in another language."""
CONNECTION_ERRORS = ("connection failed", "connection timeout")
"""The starts of psycopg's messages where no connection was made."""
SERVER_NOT_READY = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "recovery mode",
    "too many",
    "reserved",
)
"""Texts of refusals by a server that may accept the user later; any other `FATAL` needs the user."""


class Fault(Enum):
    """The kind of a database error, which decides whether the transaction is repeated."""

    LOCKED = auto()
    """Another process has locked rows or the file; nothing of the transaction is written."""
    LOST = auto()
    """The connection broke before the commit."""
    LOST_AT_COMMIT = auto()
    """The connection broke at the commit, whose result is unknown."""
    STARTING = auto()
    """The server accepts no connection yet, or has too many."""
    UNREACHABLE = auto()
    """No server answers."""
    REFUSED = auto()
    """The server refuses the user, the password or the database."""
    BROKEN = auto()
    """The disk is full, the database is read-only or damaged: someone must repair it."""
    STATEMENT = auto()
    """The error lies in the statement or its values, not in the state of the database."""


WHILE_RUNNING = frozenset({Fault.LOCKED, Fault.LOST, Fault.LOST_AT_COMMIT, Fault.STARTING, Fault.UNREACHABLE})
"""The faults that a running study waits out."""
WHILE_OPENING = WHILE_RUNNING - {Fault.UNREACHABLE}
"""The faults that a starting command waits out: its address may be wrong."""
EXACTLY_ONCE = WHILE_RUNNING - {Fault.LOST_AT_COMMIT}
"""The faults after which a transaction that must not run twice is repeated."""


class UnwritableError(Exception):
    """The ledger or a trial's files cannot be written now: the study must pause.

    Args:
        message: What cannot be written, and why.
        needs_repair: Whether someone must repair something first; otherwise waiting is enough.
    """

    def __init__(self, message: str, *, needs_repair: bool = False) -> None:
        super().__init__(message)
        self.needs_repair = needs_repair


class RefusedError(UnwritableError):
    """The server refuses the user, the password or the database."""


UNAVAILABLE_ERRORS = (StorageInternalError, OperationalError)
"""Errors of a locked ledger or an unreachable server, as raised without retries."""


def classify(error: StorageInternalError | DBAPIError) -> Fault:
    """The kind of a database error; Optuna wraps the driver's error in its own."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if not isinstance(cause, DBAPIError):
        return Fault.STATEMENT
    # PostgreSQL's InternalError: a standby takes no writes, or a transaction was ended from outside.
    if not (isinstance(cause, OperationalError | InternalError) or cause.connection_invalidated):
        return Fault.STATEMENT
    message = driver_message(cause)
    if getattr(cause.orig, "sqlstate", None) in LOCK_STATES or any(text in message for text in LOCK_MESSAGES):
        return Fault.LOCKED
    if cause.connection_invalidated:
        return Fault.LOST_AT_COMMIT if cause.statement is None else Fault.LOST
    if not message.startswith(CONNECTION_ERRORS):
        return Fault.BROKEN
    if "FATAL:" not in message:
        return Fault.UNREACHABLE
    return Fault.STARTING if any(text in message for text in SERVER_NOT_READY) else Fault.REFUSED


def retry_while_locked(
    transaction: Callable[[], T],
    address: str,
    *,
    faults: frozenset[Fault] = WHILE_RUNNING,
    seconds: float | None = None,
) -> T:
    """Run a transaction; repeat it with growing random pauses after the given faults.

    Args:
        transaction: One transaction.
        address: The database, as messages name it.
        faults: The faults after which it is repeated.
        seconds: How long to repeat it; None: RETRY_SECONDS.

    Raises:
        RefusedError: The server refuses the user, the password or the database.
        UnwritableError: The database is locked for longer, cannot be reached, or its disk is full.
    """
    start, pause = time.monotonic(), 0.05
    while True:
        try:
            return transaction()
        except (StorageInternalError, DBAPIError) as error:
            fault, elapsed = classify(error), time.monotonic() - start
            if fault is Fault.STATEMENT:
                raise
            if fault not in faults or elapsed >= (RETRY_SECONDS if seconds is None else seconds):
                kind = RefusedError if fault is Fault.REFUSED else UnwritableError
                raise kind(_problem(error, address, elapsed), needs_repair=fault not in faults) from error
        time.sleep(random.uniform(0.5, 1.0) * pause)  # random, so that two waiting processes get out of step
        pause = min(2 * pause, MAX_PAUSE_SECONDS)


def _problem(error: Exception, address: str, seconds: float) -> str:
    message = driver_message(error)
    duration = f" for {seconds:.0f} s" if seconds > 1 else ""
    free_space = _free_space(address) if "full" in message else ""
    return f"the ledger {address} cannot be written{duration}: {message}{free_space}"


def _free_space(address: str) -> str:
    """The free bytes on the disk of a ledger's file, for a message; empty for another machine's disk."""
    try:
        return f", {shutil.disk_usage(Path(address).parent).free:,} bytes are free"
    except OSError:
        return ""


def driver_message(error: BaseException) -> str:
    """The first line of the database driver's message, without credentials."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    return without_credentials(first_line(getattr(cause, "orig", None) or cause))[:300]
