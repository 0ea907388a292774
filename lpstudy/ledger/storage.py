"""The database of a ledger: opening it, and retrying writes while another process has locked it."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from lpstudy.ledger.address import display_url, sqlite_file
from lpstudy.one_line import first_line
from lpstudy.redaction import without_credentials

if TYPE_CHECKING:  # its import takes seconds, which readers save
    from lpstudy.ledger.optuna_storage import Storage

T = TypeVar("T")

RETRY_SECONDS = 30.0
"""Seconds for which a write is retried before the study pauses."""
LOCK_SECONDS = 5.0
"""Seconds for which the database itself waits for a lock within one attempt."""
NETWORK_TIMEOUT_SECONDS = 30
"""Seconds after which a silent PostgreSQL server counts as lost, with its machine or the network."""
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
MAX_TABLE_ATTEMPTS = 5
"""Attempts to create the tables, which other processes may be creating at the same time."""


class UnwritableError(Exception):
    """The ledger or a trial's files cannot be written now: the study must pause.

    Args:
        message: What cannot be written, and why.
        needs_repair: Whether someone must repair something first; otherwise waiting is enough.
    """

    def __init__(self, message: str, *, needs_repair: bool = False) -> None:
        super().__init__(message)
        self.needs_repair = needs_repair


UNAVAILABLE_ERRORS = (StorageInternalError, OperationalError)
"""Errors of a locked ledger or an unreachable server, as raised without retries."""


def open_storage(url: str) -> "Storage":
    """Open or create Optuna's storage at an SQLAlchemy URL.

    `postgresql://` means the driver psycopg 3.

    Raises:
        ValueError: The URL is invalid, its driver is not installed, its database is not a ledger, or the
            server refuses this user.
        UnwritableError: Another process keeps it locked, or no server answers.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    full_url = _with_driver(url)
    with _errors_naming(url):
        parsed = sqlalchemy.make_url(full_url)
        kwargs = _engine_options(parsed)
        if (path := sqlite_file(full_url)) is not None and not path.parent.is_dir():
            raise ArgumentError(f"there is no folder {path.parent}")
        # Optuna formats the URL as a template.
        full_url = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        return retry_while_locked(lambda: _create_storage(full_url, kwargs), display_url(url), awaited=False)


def engine_at(url: str) -> sqlalchemy.Engine:
    """Connect to the database at an SQLAlchemy URL for reading; nothing is created.

    Raises:
        ValueError: The URL is invalid, its driver is not installed, the file is missing or not a database,
            or the server refuses this user.
        UnwritableError: Another process keeps it locked, or no server answers.
    """
    full_url = _with_driver(url)
    with _errors_naming(url):
        parsed = sqlalchemy.make_url(full_url)
        kwargs = _engine_options(parsed)
        if (path := sqlite_file(full_url)) is not None and not path.is_file():
            raise ArgumentError("no such file")
        engine = sqlalchemy.create_engine(parsed, **kwargs)
        retry_while_locked(
            lambda: sqlalchemy.inspect(engine).get_table_names(), display_url(url), awaited=False
        )
        return engine


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@contextmanager
def _errors_naming(url: str) -> Iterator[None]:
    """Turn a database's errors into one line that names it."""
    try:
        yield
    except (ImportError, NoSuchModuleError, ArgumentError, ValueError) as error:
        hint = "; install lpstudy[postgres]" if "psycopg" in str(error) else ""
        raise ValueError(f"the ledger {display_url(url)}: {driver_message(error)}{hint}") from None
    except (SQLAlchemyError, RuntimeError) as error:
        raise ValueError(f"the ledger {display_url(url)} cannot be read: {driver_message(error)}") from None


def _engine_options(url: sqlalchemy.URL) -> dict[str, Any]:
    """SQLAlchemy's options for the URL; the URL's own options take precedence."""
    match url.get_backend_name():
        case "sqlite" if url.database in (None, "", ":memory:"):
            raise ArgumentError(
                "must name a file, sqlite:////folder/ledger.db: a database in memory is not kept"
            )
        case "sqlite":
            return {"connect_args": {"timeout": LOCK_SECONDS}}
        case "postgresql":
            defaults: dict[str, Any] = {
                "options": f"-c lock_timeout={1000 * LOCK_SECONDS:.0f}",
                "connect_timeout": 10,
                "tcp_user_timeout": 1000 * NETWORK_TIMEOUT_SECONDS,
                "keepalives_idle": NETWORK_TIMEOUT_SECONDS // 3,
                "keepalives_interval": NETWORK_TIMEOUT_SECONDS // 3,
                "keepalives_count": 2,
            }
            connect_args = {key: value for key, value in defaults.items() if key not in url.query}
            return {"pool_pre_ping": True, "connect_args": connect_args}
        case other:
            raise ArgumentError(f"must be postgresql://... or sqlite:///... but is {other}://...")


def _create_storage(url: str, kwargs: dict[str, Any]) -> "Storage":
    """Open the storage and create its tables; retry where another process creates them too."""
    from lpstudy.ledger.optuna_storage import Storage

    for _ in range(MAX_TABLE_ATTEMPTS - 1):
        try:
            return Storage(url, engine_kwargs=kwargs)
        except (IntegrityError, ProgrammingError):
            time.sleep(random.uniform(0.1, 0.3))
    return Storage(url, engine_kwargs=kwargs)


def engine_of(storage: Any) -> sqlalchemy.Engine:
    """The engine of an open storage; Optuna wraps a cache around the storage when it creates a study."""
    inner: Any = getattr(storage, "_backend", storage)
    engine: sqlalchemy.Engine = inner.engine
    return engine


def retry_while_locked(
    write: Callable[[], T],
    address: str,
    *,
    repeatable: bool = True,
    awaited: bool = True,
    seconds: float | None = None,
) -> T:
    """Run a transaction; retry it with growing random pauses while the database is locked or does not answer.

    Args:
        write: One transaction.
        address: The database, as messages name it.
        repeatable: Whether the transaction may run twice: a connection lost at the commit leaves its result
            unknown.
        awaited: Whether to wait for a server that does not answer at all.
        seconds: How long to retry; None: RETRY_SECONDS.

    Raises:
        UnwritableError: The database is locked for longer, cannot be reached, or its disk is full.
    """
    start, pause, seconds = time.monotonic(), 0.05, RETRY_SECONDS if seconds is None else seconds
    while True:
        try:
            return write()
        except (StorageInternalError, DBAPIError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            if not isinstance(cause, DBAPIError) or not _is_database_fault(cause):
                raise
            message = driver_message(cause)
            if _is_refusal(message) and not awaited:
                raise cause from None
            elapsed = time.monotonic() - start
            is_lost = cause.connection_invalidated and (repeatable or cause.statement is not None)
            may_start = awaited or "FATAL:" in message  # a server that is starting
            is_away = may_start and message.startswith(CONNECTION_ERRORS) and not _is_refusal(message)
            is_transient = _is_locked(cause, message) or is_lost or is_away
            if not is_transient or elapsed >= seconds:
                duration = f" for {elapsed:.0f} s" if elapsed > 1 else ""
                space = _free_space(address) if "full" in message else ""
                text = f"the ledger {address} cannot be written{duration}: {message}{space}"
                raise UnwritableError(text, needs_repair=not is_transient) from error
        time.sleep(random.uniform(0.5, 1.0) * pause)  # so that two waiting processes do not stay in step
        pause = min(2 * pause, MAX_PAUSE_SECONDS)


def _free_space(address: str) -> str:
    """The free bytes on the disk of a ledger's file, for a message; empty for another machine's disk."""
    try:
        return f", {shutil.disk_usage(Path(address).parent).free:,} bytes are free"
    except OSError:
        return ""


def _is_database_fault(cause: DBAPIError) -> bool:
    """Whether the error comes from the database's state and not from the data."""
    # PostgreSQL's InternalError: a standby takes no writes, or a transaction was ended from outside.
    return isinstance(cause, (OperationalError, InternalError)) or cause.connection_invalidated


def _is_locked(cause: DBAPIError, message: str) -> bool:
    state = getattr(cause.orig, "sqlstate", None)
    return state in LOCK_STATES or any(text in message for text in LOCK_MESSAGES)


def _is_refusal(message: str) -> bool:
    """Whether the server refuses the user, the password or the database."""
    is_refused = message.startswith(CONNECTION_ERRORS) and "FATAL:" in message
    return is_refused and not any(text in message for text in SERVER_NOT_READY)


def driver_message(error: BaseException) -> str:
    """The first line of the database driver's message, without credentials."""
    return without_credentials(first_line(getattr(error, "orig", None) or error))[:300]
