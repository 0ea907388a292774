"""MLflow as a projection of the ledger: written by one thread, found by key, never able to stop training."""

import math
import queue
import threading
import time
from collections.abc import Callable

from mlflow.tracking import MlflowClient

from lpstudy.folder import Folder
from lpstudy.ledger import Assignment, LedgerReader
from lpstudy.threads import GuardedThread, describe_error
from lpstudy.tracking.client import StudyMetadata, reason
from lpstudy.tracking.run_writer import RunWriter

PACE = 5.0
"""Seconds over which changes are gathered: a request costs as much as hundreds of points in it."""
SILENT = 15.0
"""Seconds that the end of a study gives a server that does not do what it is asked."""
LONGEST_PAUSE = 10.0
"""Seconds between two attempts while the server does not answer."""


class Projection:
    """Writes what the ledger knows to MLflow.

    Everything is idempotent: runs are found by their key, a metric point has the same timestamp each time it
    is written, and a run that is complete is not touched again. `note_change` only notes; a thread
    writes, and tries again while the server does not answer.

    Args:
        client: Connected.
        ledger: The truth.
        facts: Of the study.
        runs_folder: Holds each run's weights in a folder named by its key.
        may_write: Whether the study is this process's; asked before each batch of writes. False ends it.
    """

    def __init__(
        self,
        client: MlflowClient,
        ledger: LedgerReader,
        facts: StudyMetadata,
        runs_folder: Folder,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._allowed = may_write
        self._ledger = ledger
        self._writer = RunWriter(client, ledger, facts, runs_folder)
        self._changes: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
        self._thread = GuardedThread("mlflow", self._follow, self._failed)
        self._ending = False
        self._behind: dict[str, Assignment] = {}
        self._over = threading.Event()
        self.error: str | None = None
        """Why the last attempt to write failed; None while all is well."""

    def start(self) -> None:
        """Write the study's facts and its arms, then follow the ledger; returns at once."""
        self._thread.start()

    def note_change(self, assignment: Assignment) -> None:
        """Note that a run has changed."""
        self._changes.put(assignment)

    @property
    def pending_runs(self) -> int:
        """How many runs have changed since they were written."""
        return len(self._behind) + self._changes.qsize()

    def close(self, *, seconds: float) -> None:
        """Write what is left, for at most so many seconds, and end every run, the unfinished as paused.

        Then no more requests are begun: another projection of the study may write after this one.
        """
        self._changes.put(None)
        until, failing = time.monotonic() + seconds, math.inf
        while self._thread.is_alive() and time.monotonic() < min(until, failing + SILENT):
            self._thread.join(min(1.0, seconds))
            failing = math.inf if self.error is None else min(failing, time.monotonic())
        self._over.set()
        if self._thread.is_alive() and self.error is None:
            self.error = f"it did not answer within {seconds:g} s"

    def _failed(self, error: BaseException) -> None:
        """Of the thread, which starts again: all that it writes may be written twice."""
        self.error = describe_error(error)
        self._writer.forget()

    def _follow(self, stop: threading.Event) -> None:
        del stop  # `close` ends it
        wait = 0.0
        while True:
            self._ending = self._collect(wait) or self._ending
            if self._over.is_set():
                return
            try:
                if not self._allowed():
                    self._over.set()
                    self.error = "another process runs the study"
                    return
                self._write_all(paused=self._ending)
                if self._over.is_set():
                    return
                self.error, wait = None, math.inf
            except Exception as error:  # whatever the client throws is kept, shown and tried again
                self.error = reason(error)
                self._writer.forget()
                wait = 1.0 if wait in (0.0, math.inf) else min(LONGEST_PAUSE, 2 * wait)
            if self._ending and self.error is None:
                return

    def _collect(self, wait: float) -> bool:
        """Wait so many seconds for a change and PACE for more; returns whether the study has ended."""
        try:
            change = self._changes.get(timeout=None if math.isinf(wait) else wait)
            until = time.monotonic() + PACE
            while change is not None:
                self._behind[change.key] = change
                change = self._changes.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return False
        return True

    def _write_all(self, *, paused: bool) -> None:
        if not self._writer.open:
            self._writer.begin()
        if paused:
            self._behind |= {assignment.key: assignment for assignment in self._writer.unwritten()}
        for key, assignment in list(self._behind.items()):
            if self._over.is_set():
                return
            self._writer.write(self._ledger.record(assignment), paused=paused)
            del self._behind[key]
        if paused:
            self._writer.end_study()
