"""The database under a ledger: opened, and written with patience where another process has locked it."""

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
from lpstudy.redaction import without_credentials

if TYPE_CHECKING:  # readers do without the seconds that its import takes
    from lpstudy.ledger.optuna_storage import Storage

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which a write is tried again before the study pauses."""
LOCK_SECONDS = 5.0
"""How long the database itself waits for a lock, within one try."""
LOST_SECONDS = 30
"""After which a PostgreSQL server that says nothing more is given up: its machine or the network is gone."""
LONGEST_PAUSE = 2.0
LOCKED = ("is locked", "deadlock detected", "could not serialize", "lock timeout")
"""What SQLite and PostgreSQL say of a lock; nothing of the transaction has been written then."""
LOCK_STATES = ("40P01", "40001", "55P03")
"""The same as PostgreSQL's codes, for a server that speaks another language."""
UNCONNECTED = ("connection failed", "connection timeout")
"""What psycopg says where there was no connection to write through."""
UNREADY = ("starting up", "shutting down", "not yet accepting", "recovery mode", "too many", "reserved")
"""Refusals of a server that may let the same user in later; any other `FATAL` is to be mended by the user."""
MAX_TABLE_ATTEMPTS = 5
"""Tries to make the tables, which others may be making in this moment."""


class UnwritableError(Exception):
    """The ledger, or a trial's files, cannot be written now: the study must pause.

    Args:
        message: Names it, and why.
        needs_repair: Whether someone has to mend something first; else it is enough to wait.
    """

    def __init__(self, message: str, *, needs_repair: bool = False) -> None:
        super().__init__(message)
        self.needs_repair = needs_repair


UNAVAILABLE_ERRORS = (StorageInternalError, OperationalError)
"""What a ledger that is locked, or whose server is away, raises where nobody tries again."""


def open_storage(url: str) -> "Storage":
    """Optuna's storage at an SQLAlchemy URL, made where it is new.

    `postgresql://` means the driver psycopg 3.

    Raises:
        ValueError: The URL is none, its driver is not installed, what is there is no ledger, or the server
            does not let this user in.
        UnwritableError: Another process keeps it locked, or no server answers.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spelt = _spelt(url)
    with _naming(url):
        parsed = sqlalchemy.make_url(spelt)
        kwargs = _engine_words(parsed)
        if (path := sqlite_file(spelt)) is not None and not path.parent.is_dir():
            raise ArgumentError(f"there is no folder {path.parent}")
        # Optuna formats the URL as a template.
        spelt = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        return retry_while_locked(lambda: _made(spelt, kwargs), display_url(url), awaited=False)


def engine_at(url: str) -> sqlalchemy.Engine:
    """The database at an SQLAlchemy URL, to be read; nothing is made.

    Raises:
        ValueError: The URL is none, its driver is not installed, there is no such file or no database in it,
            or the server does not let this user in.
        UnwritableError: Another process keeps it locked, or no server answers.
    """
    spelt = _spelt(url)
    with _naming(url):
        parsed = sqlalchemy.make_url(spelt)
        kwargs = _engine_words(parsed)
        if (path := sqlite_file(spelt)) is not None and not path.is_file():
            raise ArgumentError("no such file")
        engine = sqlalchemy.create_engine(parsed, **kwargs)
        retry_while_locked(
            lambda: sqlalchemy.inspect(engine).get_table_names(), display_url(url), awaited=False
        )
        return engine


def _spelt(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Within it what is wrong with a database is one line that names it."""
    try:
        yield
    except (ImportError, NoSuchModuleError, ArgumentError, ValueError) as error:
        hint = "; install lpstudy[postgres]" if "psycopg" in str(error) else ""
        raise ValueError(f"the ledger {display_url(url)}: {_line(error)}{hint}") from None
    except (SQLAlchemyError, RuntimeError) as error:
        raise ValueError(f"the ledger {display_url(url)} cannot be read: {_line(error)}") from None


def _engine_words(url: sqlalchemy.URL) -> dict[str, Any]:
    """What SQLAlchemy is told beside the URL; what the URL says itself holds."""
    match url.get_backend_name():
        case "sqlite" if url.database in (None, "", ":memory:"):
            raise ArgumentError("must name a file, sqlite:////folder/ledger.db: in memory nothing is kept")
        case "sqlite":
            return {"connect_args": {"timeout": LOCK_SECONDS}}
        case "postgresql":
            own: dict[str, Any] = {
                "options": f"-c lock_timeout={1000 * LOCK_SECONDS:.0f}",
                "connect_timeout": 10,
                "tcp_user_timeout": 1000 * LOST_SECONDS,
                "keepalives_idle": LOST_SECONDS // 3,
                "keepalives_interval": LOST_SECONDS // 3,
                "keepalives_count": 2,
            }
            given = {key: value for key, value in own.items() if key not in url.query}
            return {"pool_pre_ping": True, "connect_args": given}
        case other:
            raise ArgumentError(f"must be postgresql://... or sqlite:///... but is {other}://...")


def _made(url: str, kwargs: dict[str, Any]) -> "Storage":
    """The storage; two processes that make the tables in the same moment disturb each other."""
    from lpstudy.ledger.optuna_storage import Storage

    for _ in range(MAX_TABLE_ATTEMPTS - 1):
        try:
            return Storage(url, engine_kwargs=kwargs)
        except (IntegrityError, ProgrammingError):
            time.sleep(random.uniform(0.1, 0.3))
    return Storage(url, engine_kwargs=kwargs)


def engine_of(storage: Any) -> sqlalchemy.Engine:
    """Of an opened storage; Optuna wraps a cache around it when it makes a study."""
    inner: Any = getattr(storage, "_backend", storage)
    engine: sqlalchemy.Engine = inner.engine
    return engine


def retry_while_locked(
    write: Callable[[], T],
    where: str,
    *,
    repeatable: bool = True,
    awaited: bool = True,
    seconds: float | None = None,
) -> T:
    """Write, and again with growing pauses of random length while the database is locked or does not answer.

    Args:
        write: One transaction.
        where: The database, as messages name it.
        repeatable: Whether it may be done twice: a connection that is lost at the commit leaves it unknown
            whether it was done.
        awaited: Whether to wait for a server that is not there.
        seconds: How long; None: PATIENCE.

    Raises:
        UnwritableError: It is locked for longer, cannot be reached, or its disk is full.
    """
    began, pause, seconds = time.monotonic(), 0.05, PATIENCE if seconds is None else seconds
    while True:
        try:
            return write()
        except (StorageInternalError, DBAPIError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            if not isinstance(cause, DBAPIError) or not _unwritable(cause):
                raise
            said = _line(cause)
            if _refused(said) and not awaited:
                raise cause from None
            taken = time.monotonic() - began
            lost = cause.connection_invalidated and (repeatable or cause.statement is not None)
            there = awaited or "FATAL:" in said  # what it says while it starts
            away = there and said.startswith(UNCONNECTED) and not _refused(said)
            passing = _locked(cause, said) or lost or away
            if not passing or taken >= seconds:
                after = f" for {taken:.0f} s" if taken > 1 else ""
                free = _free(where) if "full" in said else ""
                words = f"the ledger {where} cannot be written{after}: {said}{free}"
                raise UnwritableError(words, needs_repair=not passing) from error
        time.sleep(random.uniform(0.5, 1.0) * pause)  # two that wait for each other must not stay in step
        pause = min(2 * pause, LONGEST_PAUSE)


def _free(where: str) -> str:
    """What is free on the disk of a ledger's file, in words; nothing where it is none of this machine."""
    try:
        return f", {shutil.disk_usage(Path(where).parent).free:,} bytes are free"
    except OSError:
        return ""


def _unwritable(cause: DBAPIError) -> bool:
    """Whether it is the database's state, and not what was to be written, that is wrong."""
    # PostgreSQL's InternalError: a standby takes no writes, or a transaction was ended from outside.
    return isinstance(cause, (OperationalError, InternalError)) or cause.connection_invalidated


def _locked(cause: DBAPIError, said: str) -> bool:
    state = getattr(cause.orig, "sqlstate", None)
    return state in LOCK_STATES or any(words in said for words in LOCKED)


def _refused(said: str) -> bool:
    """Whether the server does not know the user, the password or the database."""
    return said.startswith(UNCONNECTED) and "FATAL:" in said and not any(words in said for words in UNREADY)


def _line(error: BaseException) -> str:
    """The first line of what the driver said, without credentials."""
    inner = getattr(error, "orig", None) or error
    return without_credentials((str(inner).strip() or type(inner).__name__).splitlines()[0])[:300]
