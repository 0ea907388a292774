"""The session of a process that runs a study: its lease, heartbeats, requests and signals."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType
from typing import Any, NoReturn, TypeVar

from lpstudy.command.deadline import Deadline
from lpstudy.command.exits import DONE, INTERRUPTED, PAUSED, TERMINATED, FaultError, exit_code_of
from lpstudy.command.faults import WORDS, remedy_of
from lpstudy.command.gauges import Gauges
from lpstudy.command.study_ledgers import ledger_url
from lpstudy.folder import Folder, LocalFolder
from lpstudy.ledger import (
    HEARTBEAT_SECONDS,
    FencedError,
    Lease,
    UnwritableError,
    open_storage,
    rename_study,
    study_names,
)
from lpstudy.signals import debounced
from lpstudy.study import Backend, PausedError, StudyControl
from lpstudy.threads import GuardedThread

GRACE = 30.0
"""Seconds that trials have, after a signal, to write a checkpoint."""
END_STATES = {"stop": "stopped", "cancel": "cancelled"}
"""The state of a study after a request that ends it."""
T = TypeVar("T")
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: TERMINATED}


class StudySession:
    """The session of the process that runs a study, from acquiring the lease to releasing it.

    Args:
        folder: The study's folder, created if it is new.
        url: The ledger's database; None: a file in the folder.
        name: The study's name.
        fresh: Start a new study; the old one is archived under another name.

    Raises:
        StudyRunningError: Another process runs the study.
        UnwritableError: The ledger is locked.
        ValueError: The ledger cannot be opened.
    """

    def __init__(self, folder: Folder, url: str | None, name: str, *, fresh: bool) -> None:
        _create(folder)
        self.storage = open_storage(ledger_url(folder, url))
        self._lease = Lease(self.storage.engine, name)
        row = self._lease.acquire()
        if fresh and name in study_names(self.storage):
            archive = _archive_name(folder, name, study_names(self.storage))
            if url is None:
                self._lease.release({"state": "archived"})
                self.storage.engine.dispose()
                folder.rename(archive)
                _create(folder)
                self.storage = open_storage(ledger_url(folder, url))
                self._lease = Lease(self.storage.engine, name)
                row = self._lease.acquire()
            else:
                rename_study(self.storage, name, archive)
                if folder.exists():
                    folder.rename(archive)
                    _create(folder)
        self.previous_process = self._lease.predecessor
        """The process whose study was taken over because it stopped sending heartbeats; else None."""
        self.control = StudyControl(folder, self._lease.token)
        self.gauges = Gauges()
        """Values that each heartbeat reports to other shells besides the state."""
        self.state: dict[str, Any] = {"state": "starting"}
        self.is_held = self._lease.is_held
        """Returns whether this process still holds the lease, from the ledger."""
        self._kill: Callable[[], None] = lambda: None
        self.deadline = Deadline(self.control, self._exit)
        self._folder = folder
        self._request_number = row.request_number
        self._heartbeat = GuardedThread("lease", self._send_heartbeats, self.control.fail_thread("lease"))

    def use(self, backend: Backend) -> None:
        """Kill this backend's processes if the process must end because its main thread hangs."""
        self._kill = backend.kill

    @contextmanager
    def running(self) -> Iterator[None]:
        """A context that sends heartbeats and receives requests; at its end the lease is released."""
        self.gauges.add(free=self._folder.free_bytes)
        self._heartbeat.start()
        self.deadline.start()
        try:
            yield
        finally:
            self.deadline.stop()
            self.gauges.stop()
            self._heartbeat.stop(2 * HEARTBEAT_SECONDS)
            if self.state["state"] == "finished":
                self.control.remove_file()  # else remaining trials still read it
            with suppress(UnwritableError):  # then the lease expires with this process
                self._lease.release(self.state)

    @contextmanager
    def pause_on_signals(self, grace: float) -> Iterator[None]:
        """A context in which SIGTERM and SIGINT pause the study; a second signal ends it at once.

        Enter it after Ray has started, which installs its own handler.
        """

        def pause_or_end(number: int, frame: FrameType | None) -> None:
            if self.control.current.is_exit:
                raise KeyboardInterrupt
            self.control.pause_and_exit(SIGNALS[signal.Signals(number)], seconds=grace, signal=number)

        if threading.current_thread() is not threading.main_thread():  # it cannot handle signals
            yield
            return
        previous = {number: signal.signal(number, debounced(pause_or_end)) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _send_heartbeats(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            try:
                row = self._lease.heartbeat(self._report())
            except FencedError as error:
                self.control.fail(error, seconds=0.0)
                return
            except UnwritableError:  # the thread that writes results meets and reports it
                continue
            if row.request_number > self._request_number:
                self._request_number = row.request_number
                self.control.send(row.request, f"lpstudy {row.request}")

    def _report(self) -> Mapping[str, Any]:
        current = self.control.current
        request = {"request": current.request, "why": current.why} if current.request != "run" else {}
        return self.state | request | self.gauges.values() | {"heard": self._request_number}

    def _exit(self) -> NoReturn:
        code = PAUSED
        try:
            code = exit_code_of("sweep", self._abandon)
            with suppress(UnwritableError):
                self._lease.release(self.state)
        finally:
            os._exit(code)

    def _abandon(self) -> NoReturn:
        """Kill the backend and raise the error of a paused study."""
        self._kill()
        raise self.fault_of_pause(PausedError())

    def retry_after_pause(self, phase: Callable[[], T]) -> T:
        """Run a phase, and run it again after each pause that a user ends."""
        while True:
            try:
                return phase()
            except PausedError:
                if self.control.current.is_exit or not self.control.wait():
                    raise

    def fault_of_pause(self, error: BaseException) -> FaultError:
        """The message and exit code of a study that ends before its last run."""
        if isinstance(self.control.fault, FencedError):
            return FaultError(str(self.control.fault))
        current = self.control.current
        early_reason = TERMINATED if isinstance(error, SystemExit) else ""  # before the backend was there
        message = "" if isinstance(error, KeyboardInterrupt | SystemExit) else str(error)
        why = str(self.control.fault or message or current.why or early_reason)
        if current.request in END_STATES:
            self.state = {"state": END_STATES[current.request]}
            return FaultError(f"{END_STATES[current.request]} before its first trial", DONE)
        self.state = {"state": "paused", "why": why}
        if (isinstance(error, KeyboardInterrupt) and not current.is_exit) or current.signal == signal.SIGINT:
            return FaultError("interrupted; run the same command to resume", INTERRUPTED)
        return FaultError(f"paused: {why}{WORDS[remedy_of(self.control.fault or error)]}", PAUSED)


def _create(folder: Folder) -> None:
    """Create a local folder; an object store has no folders."""
    if isinstance(folder, LocalFolder):
        folder.path.mkdir(parents=True, exist_ok=True)


def _archive_name(folder: Folder, name: str, existing_names: list[str]) -> str:
    """A name for the archived study that no folder and no ledger uses."""
    candidates = (f"{name}.old{n}" for n in count(1))
    return next(
        name for name in candidates if not folder.sibling(name).exists() and name not in existing_names
    )
