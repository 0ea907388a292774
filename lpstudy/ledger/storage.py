"""The connection to a ledger's database."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)

from lpstudy.ledger.address import display_url, sqlite_file
from lpstudy.ledger.retry import WHILE_OPENING, RefusedError, driver_message, retry_while_locked

if TYPE_CHECKING:  # its import takes seconds, which readers save
    from lpstudy.ledger.optuna_storage import Storage

LOCK_SECONDS = 5.0
"""Seconds for which the database itself waits for a lock within one attempt."""
NETWORK_TIMEOUT_SECONDS = 30
"""Seconds after which a silent PostgreSQL server counts as lost, with its machine or the network."""
MAX_TABLE_ATTEMPTS = 5
"""Attempts to create the tables, which other processes may be creating at the same time."""


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
        return retry_while_locked(
            lambda: _create_storage(full_url, kwargs), display_url(url), faults=WHILE_OPENING
        )


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
            lambda: sqlalchemy.inspect(engine).get_table_names(), display_url(url), faults=WHILE_OPENING
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
    except RefusedError as error:
        message = driver_message(error.__cause__ or error)
        raise ValueError(f"the ledger {display_url(url)} cannot be read: {message}") from None


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
