"""A study held by this process: its lease, signs of life, wishes from other shells, signals."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType
from typing import Any, NoReturn

from lpstudy.command.deadline import Deadline
from lpstudy.command.exits import PAUSED, TERMINATED
from lpstudy.command.gauges import Gauges
from lpstudy.command.overview import ledger_url
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
from lpstudy.study import StudyControl
from lpstudy.threads import GuardedThread

GRACE = 30.0
"""Seconds that trials have, after a signal, to come to a checkpoint."""
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: TERMINATED}


class StudySession:
    """From the lease on to its release.

    Args:
        folder: Of the study; made where it is new.
        url: Of the ledger; None: a file in the folder.
        name: Of the study.
        fresh: Begin anew; the old study is kept under another name.

    Raises:
        StudyRunningError: Another process runs the study.
        UnwritableError: The ledger is locked.
        ValueError: The ledger cannot be opened.
    """

    def __init__(self, folder: Folder, url: str | None, name: str, *, fresh: bool) -> None:
        _make(folder)
        self.storage = open_storage(ledger_url(folder, url))
        self._lease = Lease(self.storage.engine, name)
        row = self._lease.acquire()
        if fresh and name in study_names(self.storage):
            old = _free(folder, name, study_names(self.storage))
            if url is None:
                self._lease.release({"state": "archived"})
                self.storage.engine.dispose()
                folder.rename(old)
                _make(folder)
                self.storage = open_storage(ledger_url(folder, url))
                self._lease = Lease(self.storage.engine, name)
                row = self._lease.acquire()
            else:
                rename_study(self.storage, name, old)
                if folder.exists():
                    folder.rename(old)
                    _make(folder)
        self.previous_process = self._lease.predecessor
        """Whose study was taken over: a process that gave no sign of life any more."""
        self.control = StudyControl(folder, self._lease.token)
        self.gauges = Gauges()
        """What other shells are told with each sign of life, beside the state."""
        self.state: dict[str, Any] = {"state": "starting"}
        self.is_held = self._lease.is_held
        """Asks the ledger whether the study is still this process's."""
        self.before_exit: Callable[[], int] = lambda: PAUSED
        """Called where the process is ended from a thread, for its main thread hangs: prints why, returns the
        exit code."""
        self.ray_lost: Callable[[], bool] = lambda: False
        """Asked for an error that may be none of its own: whether Ray itself has ended."""
        self.deadline = Deadline(self.control, self._exit)
        self._folder = folder
        self._request_number = row.request_number
        self._heartbeat = GuardedThread("lease", self._beat, self.control.fail_thread("lease"))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Give signs of life and hear wishes for as long as the context lasts; then release the study."""
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
                self.control.remove_file()  # else what is left of its trials must still hear
            with suppress(UnwritableError):  # then the lease ends with this process
                self._lease.release(self.state)

    @contextmanager
    def pause_on_signals(self, grace: float) -> Iterator[None]:
        """Within it SIGTERM and SIGINT pause the study; a later one ends it without waiting.

        To be entered after Ray was started, which has a handler of its own.
        """

        def pause_or_end(number: int, frame: FrameType | None) -> None:
            if self.control.current.is_exit:
                raise KeyboardInterrupt
            self.control.pause_and_exit(SIGNALS[signal.Signals(number)], seconds=grace, signal=number)

        before = {number: signal.signal(number, debounced(pause_or_end)) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            try:
                row = self._lease.heartbeat(self._report())
            except FencedError as error:
                self.control.fail(error, seconds=0.0)
                return
            except UnwritableError:  # the thread that writes results has the same trouble, and tells it
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
            code = self.before_exit()
            with suppress(UnwritableError):
                self._lease.release(self.state)
        finally:
            os._exit(code)


def _make(folder: Folder) -> None:
    """An object store has none to make."""
    if isinstance(folder, LocalFolder):
        folder.path.mkdir(parents=True, exist_ok=True)


def _free(folder: Folder, name: str, taken: list[str]) -> str:
    """A name for an old study that neither a folder nor a ledger has."""
    made = (f"{name}.old{n}" for n in count(1))
    return next(name for name in made if not folder.sibling(name).exists() and name not in taken)
