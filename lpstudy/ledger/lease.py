"""Who runs a study and what it was asked: a row of the ledger's database, changed by compare and swap.

The holder raises the row's count every few seconds. No clock is compared with another's: who wants the study
watches the count, and takes the study over when it has stood still for STALE seconds of its own monotonic
clock, or at once where the holder was a process of this machine that is gone.
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
from lpstudy.ledger.storage import LOCK_SECONDS, UnwritableError, retry_while_locked

HEARTBEAT_SECONDS = 2.0
"""Seconds between two signs of life."""
STALE_SECONDS = 20.0
"""Seconds without one after which a study is taken over."""

# A database of an older lpstudy has these columns; `lease_row.Row` has the names that the package uses.
LEASES = Table(
    "lpstudy_leases",
    MetaData(),
    Column("study", String(512), primary_key=True),
    Column("token", String(32)),  # of the holder; null where there is none
    Column("beat", Integer, nullable=False),  # a count of heartbeats
    Column("holder", Text),
    Column("told", Text, nullable=False),  # JSON: its gauges, also after its end
    Column("wish", String(16), nullable=False),
    Column("wished", Integer, nullable=False),  # the number of requests so far
)


class StudyRunningError(Exception):
    """Another process runs the study."""


class FencedError(Exception):
    """Another process has taken the study over: this one may write nothing more."""


def read_lease(engine: Engine, study: str, seconds: float | None = None) -> Row | None:
    """A study's lease; None where it never had one.

    Raises:
        UnwritableError: The database does not answer for so many seconds, or PATIENCE.
    """
    return retry_while_locked(lambda: _read(engine, study), display_url(str(engine.url)), seconds=seconds)


def _read(engine: Engine, study: str) -> Row | None:
    try:
        with engine.connect() as connection:
            found = connection.execute(select(LEASES).where(LEASES.c.study == study)).one_or_none()
    except (OperationalError, ProgrammingError) as error:  # a ledger of before leases has no such table
        if sqlalchemy.inspect(engine).has_table(LEASES.name):
            raise
        del error
        return None
    if found is None:
        return None
    return parse_row(study, found)


def send_request(engine: Engine, study: str, wanted: Request) -> Row:
    """Ask a study's holder for something; the lease as it then is.

    Raises:
        ValueError: The study was never begun.
        UnwritableError: The database is locked.
    """
    change = update(LEASES).where(LEASES.c.study == study).values(wish=wanted, wished=LEASES.c.wished + 1)

    def ask() -> int:
        with engine.begin() as connection:
            return connection.execute(change).rowcount

    found = retry_while_locked(ask, display_url(str(engine.url)))
    now = read_lease(engine, study)
    if not found or now is None:
        raise ValueError(f"study {study!r} was never begun")
    return now


def is_study_running(engine: Engine, study: str, seconds: float = 2 * HEARTBEAT_SECONDS) -> bool:
    """Whether a process runs the study; of one on another machine by its next sign of life, for so long."""
    before = read_lease(engine, study)
    if before is None or before.token is None or before.holder is None or before.holder.has_ended():
        return False
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if before.holder.is_alive():
            return True
        time.sleep(HEARTBEAT_SECONDS / 4)
        now = read_lease(engine, study)
        if now is None or (now.token, now.heartbeat) != (before.token, before.heartbeat):
            return now is not None and now.token is not None
    return False


class Lease:
    """Held by this process until it is released, or taken over because it gave no sign of life."""

    def __init__(self, engine: Engine, study: str) -> None:
        self._engine, self._study, self._where = engine, study, display_url(str(engine.url))
        self.token = uuid.uuid4().hex
        self.after: ProcessId | None = None
        """Whose study was taken over."""
        self._mine = (LEASES.c.study == study) & (LEASES.c.token == self.token)

    def acquire(self) -> Row:
        """Hold the study from now on; the lease as it was left.

        Raises:
            StudyRunningError: Another process runs it, which is named.
            UnwritableError: The database is locked.
        """
        retry_while_locked(lambda: _make_table(self._engine), self._where)
        seen, since = read_lease(self._engine, self._study), time.monotonic()
        while True:
            free = seen is None or seen.token is None or seen.holder is None or seen.holder.has_ended()
            if (free or time.monotonic() - since >= STALE_SECONDS) and retry_while_locked(
                partial(self._swap, seen), self._where, repeatable=False
            ):
                event.listen(self._engine, "commit", self._guard)
                self.after = seen.holder if seen is not None and seen.token is not None else None
                row = read_lease(self._engine, self._study)
                if row is None:
                    raise FencedError(self._fenced())
                return row
            time.sleep(HEARTBEAT_SECONDS / 8)
            now = read_lease(self._engine, self._study)
            if (
                now is not None
                and now.token is not None
                and (seen is None or now.heartbeat != seen.heartbeat)
            ):
                raise StudyRunningError(f"study {self._study!r} is running already: {now.holder}")
            seen = now

    def _swap(self, seen: Row | None) -> bool:
        """Put this process in the place of what was seen; false where that has changed."""
        values = {"token": self.token, "holder": json.dumps(this_process().as_json()), "told": "{}"}
        fresh: dict[str, Any] = {"study": self._study, "beat": 1, "wish": "run", "wished": 0}
        try:
            with self._engine.begin() as connection:
                if seen is None:
                    connection.execute(insert(LEASES).values(**fresh, **values))
                    return True
                same = (LEASES.c.study == self._study) & (LEASES.c.beat == seen.heartbeat)
                same &= LEASES.c.token.is_(None) if seen.token is None else LEASES.c.token == seen.token
                swap = update(LEASES).where(same).values(beat=seen.heartbeat + 1, **values)
                return connection.execute(swap).rowcount == 1
        except IntegrityError:
            return False

    def heartbeat(self, gauges: Mapping[str, Any]) -> Row:
        """A sign of life, and what the holder says of itself; the lease with what is wished now.

        Raises:
            FencedError: Another process has taken the study over.
            UnwritableError: The database cannot be written.
        """
        values = {"beat": LEASES.c.beat + 1, "told": json.dumps(gauges)}
        if not retry_while_locked(partial(self._write, values), self._where, seconds=HEARTBEAT_SECONDS):
            raise FencedError(self._fenced())
        row = read_lease(self._engine, self._study, seconds=HEARTBEAT_SECONDS)
        if row is None:
            raise FencedError(self._fenced())
        return row

    def is_held(self) -> bool:
        """Whether nobody has taken the study over.

        Raises:
            UnwritableError: The database does not answer.
        """
        row = read_lease(self._engine, self._study, seconds=HEARTBEAT_SECONDS)
        return row is not None and row.token == self.token

    def release(self, gauges: Mapping[str, Any]) -> None:
        """Hold the study no longer; `gauges` stays to be read. Nothing where it is held no longer.

        In a database that cannot be written the lease runs out by itself: whatever made the study end is not
        to be hidden by that.
        """
        event.remove(self._engine, "commit", self._guard)
        values = {"token": None, "beat": LEASES.c.beat + 1, "told": json.dumps(gauges), "wish": "run"}
        with suppress(UnwritableError):
            retry_while_locked(partial(self._write, values), self._where, seconds=LOCK_SECONDS)

    def _write(self, values: Mapping[str, Any]) -> bool:
        with self._engine.begin() as connection:
            return connection.execute(update(LEASES).where(self._mine).values(**values)).rowcount == 1

    def _guard(self, connection: Connection) -> None:
        """Before each commit of this process: hold the row, so that nobody takes the study over meanwhile."""
        query = select(LEASES.c.token).where(LEASES.c.study == self._study)
        if connection.dialect.name != "sqlite":  # there one process writes at a time
            query = query.with_for_update(read=True)
        if connection.execute(query).scalar() != self.token:
            raise FencedError(self._fenced())

    def _fenced(self) -> str:
        row = read_lease(self._engine, self._study)
        by = f" by {row.holder}" if row is not None and row.token is not None else ""
        return f"study {self._study!r} was taken over{by} while this process gave no sign of life"


def _make_table(engine: Engine) -> None:
    try:
        LEASES.metadata.create_all(engine)
    except (OperationalError, ProgrammingError, IntegrityError):  # another has made it in this moment
        if not sqlalchemy.inspect(engine).has_table(LEASES.name):
            raise
