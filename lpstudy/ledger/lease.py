"""The lease of a study: the database row that names its process and the last request.

The row is changed by compare-and-swap, and its holder increments the heartbeat every few seconds. Clocks of
two machines are never compared: another process watches the heartbeat, and takes the study over when it has
not changed for STALE_SECONDS of its own monotonic clock, or at once where the holder was a process of this
machine that has ended.
"""

import json
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, event, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from lpstudy.ledger.address import display_url
from lpstudy.ledger.lease_row import Request, Row, parse_row
from lpstudy.ledger.process_id import ProcessId, this_process
from lpstudy.ledger.retry import EXACTLY_ONCE, UnwritableError, retry_while_locked
from lpstudy.ledger.storage import LOCK_SECONDS

HEARTBEAT_SECONDS = 2.0
"""Seconds between two heartbeats."""
STALE_SECONDS = 20.0
"""Seconds without a heartbeat after which another process may take the study over."""

# A database of an older lpstudy has these columns; `lease_row.Row` has the names that the package uses.
LEASES = Table(
    "lpstudy_leases",
    MetaData(),
    Column("study", String(512), primary_key=True),
    Column("token", String(32)),  # the holder's; null where nothing holds the lease
    Column("beat", Integer, nullable=False),  # a count of heartbeats
    Column("holder", Text),
    Column("told", Text, nullable=False),  # JSON: the holder's gauges, kept after its end
    Column("wish", String(16), nullable=False),
    Column("wished", Integer, nullable=False),  # the number of requests so far
)


class StudyRunningError(Exception):
    """Another process runs the study."""


class FencedError(Exception):
    """Another process has taken the study over; this one may not write any more."""


def read_lease(engine: Engine, study: str, seconds: float | None = None) -> Row | None:
    """A study's lease; None where it never had one.

    Args:
        engine: The ledger's database.
        study: The study's name.
        seconds: How long to retry; None: RETRY_SECONDS.

    Raises:
        UnwritableError: The database does not answer in that time.
    """
    return retry_while_locked(lambda: _read(engine, study), display_url(str(engine.url)), seconds=seconds)


def _read(engine: Engine, study: str) -> Row | None:
    try:
        with engine.connect() as connection:
            row = connection.execute(select(LEASES).where(LEASES.c.study == study)).one_or_none()
    except (OperationalError, ProgrammingError) as error:  # a ledger older than leases has no such table
        if sqlalchemy.inspect(engine).has_table(LEASES.name):
            raise
        del error
        return None
    return None if row is None else parse_row(study, row)


def send_request(engine: Engine, study: str, request: Request) -> Row:
    """Send a request to a study's holder; the lease with that request.

    Raises:
        ValueError: The study was never started.
        UnwritableError: The database is locked.
    """
    change = update(LEASES).where(LEASES.c.study == study).values(wish=request, wished=LEASES.c.wished + 1)

    def write() -> int:
        with engine.begin() as connection:
            return connection.execute(change).rowcount

    count = retry_while_locked(write, display_url(str(engine.url)))
    row = read_lease(engine, study)
    if not count or row is None:
        raise ValueError(f"study {study!r} was never started")
    return row


def is_study_running(engine: Engine, study: str, seconds: float = 2 * HEARTBEAT_SECONDS) -> bool:
    """Whether a process runs the study; one on another machine must send a heartbeat within `seconds`."""
    before = read_lease(engine, study)
    if before is None or before.token is None or before.holder is None or before.holder.has_ended():
        return False
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if before.holder.is_alive():
            return True
        time.sleep(HEARTBEAT_SECONDS / 4)
        row = read_lease(engine, study)
        if row is None or (row.token, row.heartbeat) != (before.token, before.heartbeat):
            return row is not None and row.token is not None
    return False


class Lease:
    """This process's lease of a study, until it is released or taken over for lack of heartbeats.

    Args:
        engine: The ledger's database.
        study: The study's name.
    """

    def __init__(self, engine: Engine, study: str) -> None:
        self._engine, self._study, self._address = engine, study, display_url(str(engine.url))
        self.token = uuid.uuid4().hex
        self.predecessor: ProcessId | None = None
        """The process from which the study was taken over."""
        self._own_row = (LEASES.c.study == study) & (LEASES.c.token == self.token)

    def acquire(self) -> Row:
        """Acquire the lease; its row, with the last request.

        Raises:
            StudyRunningError: Another process runs the study; the message names it.
            UnwritableError: The database is locked.
        """
        retry_while_locked(lambda: _create_table(self._engine), self._address)
        previous, start = read_lease(self._engine, self._study), time.monotonic()
        while True:
            is_free = (
                previous is None
                or previous.token is None
                or previous.holder is None
                or previous.holder.has_ended()
            )
            if (is_free or time.monotonic() - start >= STALE_SECONDS) and retry_while_locked(
                partial(self._swap, previous), self._address, faults=EXACTLY_ONCE
            ):
                event.listen(self._engine, "commit", self._guard)
                self.predecessor = (
                    previous.holder if previous is not None and previous.token is not None else None
                )
                row = read_lease(self._engine, self._study)
                if row is None:
                    raise FencedError(self._fenced())
                return row
            time.sleep(HEARTBEAT_SECONDS / 8)
            current = read_lease(self._engine, self._study)
            if (
                current is not None
                and current.token is not None
                and (previous is None or current.heartbeat != previous.heartbeat)
            ):
                raise StudyRunningError(f"study {self._study!r} is running already: {current.holder}")
            previous = current

    def _swap(self, previous: Row | None) -> bool:
        """Replace the previous row by this process's; false where the row has changed meanwhile."""
        values = {"token": self.token, "holder": json.dumps(this_process().as_json()), "told": "{}"}
        new_row: dict[str, Any] = {"study": self._study, "beat": 1, "wish": "run", "wished": 0}
        try:
            with self._engine.begin() as connection:
                if previous is None:
                    connection.execute(insert(LEASES).values(**new_row, **values))
                    return True
                same_row = (LEASES.c.study == self._study) & (LEASES.c.beat == previous.heartbeat)
                same_row &= (
                    LEASES.c.token.is_(None) if previous.token is None else LEASES.c.token == previous.token
                )
                swap = update(LEASES).where(same_row).values(beat=previous.heartbeat + 1, **values)
                return connection.execute(swap).rowcount == 1
        except IntegrityError:
            return False

    def heartbeat(self, gauges: Mapping[str, Any]) -> Row:
        """Send a heartbeat with the holder's gauges; the lease with the newest request.

        Raises:
            FencedError: Another process has taken the study over.
            UnwritableError: The database cannot be written.
        """
        values = {"beat": LEASES.c.beat + 1, "told": json.dumps(gauges)}
        if not retry_while_locked(partial(self._write, values), self._address, seconds=HEARTBEAT_SECONDS):
            raise FencedError(self._fenced())
        row = read_lease(self._engine, self._study, seconds=HEARTBEAT_SECONDS)
        if row is None:
            raise FencedError(self._fenced())
        return row

    def is_held(self) -> bool:
        """Whether this process still holds the lease.

        Raises:
            UnwritableError: The database does not answer.
        """
        row = read_lease(self._engine, self._study, seconds=HEARTBEAT_SECONDS)
        return row is not None and row.token == self.token

    def release(self, gauges: Mapping[str, Any]) -> None:
        """Release the lease and keep its gauges readable; do nothing where another process holds it.

        A database that cannot be written raises nothing, so that the reason of the study's end stays visible:
        the lease then expires by itself.
        """
        event.remove(self._engine, "commit", self._guard)
        values = {"token": None, "beat": LEASES.c.beat + 1, "told": json.dumps(gauges), "wish": "run"}
        with suppress(UnwritableError):
            retry_while_locked(partial(self._write, values), self._address, seconds=LOCK_SECONDS)

    def _write(self, values: Mapping[str, Any]) -> bool:
        with self._engine.begin() as connection:
            return connection.execute(update(LEASES).where(self._own_row).values(**values)).rowcount == 1

    def _guard(self, connection: Connection) -> None:
        """Lock the lease's row before each commit of this process, so that no other process takes it over."""
        query = select(LEASES.c.token).where(LEASES.c.study == self._study)
        if connection.dialect.name != "sqlite":  # there one process writes at a time
            query = query.with_for_update(read=True)
        if connection.execute(query).scalar() != self.token:
            raise FencedError(self._fenced())

    def _fenced(self) -> str:
        row = read_lease(self._engine, self._study)
        by = f" by {row.holder}" if row is not None and row.token is not None else ""
        return f"study {self._study!r} was taken over{by}, for this process had stopped sending heartbeats"


def _create_table(engine: Engine) -> None:
    try:
        LEASES.metadata.create_all(engine)
    except (OperationalError, ProgrammingError, IntegrityError):  # another process has just created it
        if not sqlalchemy.inspect(engine).has_table(LEASES.name):
            raise
