"""The projection of the ledger to MLflow by one thread, which can never stop training."""

import math
import queue
import threading
import time
from collections.abc import Callable

from mlflow.tracking import MlflowClient

from lpstudy.folder import Folder
from lpstudy.ledger import Assignment, LedgerReader
from lpstudy.threads import GuardedThread, describe_error
from lpstudy.tracking.client import reason
from lpstudy.tracking.run_writer import RunWriter
from lpstudy.tracking.study_metadata import StudyMetadata

BATCH_SECONDS = 5.0
"""Seconds over which changes are collected: a request costs as much as hundreds of its points."""
MAX_FAILURE_SECONDS = 15.0
"""Seconds that the end of a study waits for a failing server."""
MAX_PAUSE_SECONDS = 10.0
"""Seconds between two attempts while the server does not answer."""
REST = 20
"""How many times as long as writing the arms' figures took they stay: the runs need the processors."""


class Projection:
    """Writes the ledger's runs to MLflow.

    Everything is idempotent: runs are found by their key, a metric point has the same timestamp each time it
    is written, and a run that is complete is not touched again. `note_change` only queues a
    run; a thread writes it, and retries while the server does not answer.

    Args:
        client: A connected client.
        ledger: The ledger to project.
        facts: The study's metadata.
        runs_folder: The folder with each run's weights in a folder named by its key.
        may_write: Whether this process runs the study; called before each batch. False ends the projection.
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
        self._thread = GuardedThread("mlflow", self._follow, self._on_failure)
        self._is_closing = False
        self._pending: dict[str, Assignment] = {}
        self._stopped = threading.Event()
        self._has_results = False
        """Whether a final has ended since the arms' figures were written."""
        self._next_arms = 0.0
        self.error: str | None = None
        """The reason of the last failed attempt; None after a successful one."""

    def start(self) -> None:
        """Start the thread, which writes the study and its arms and then its changes."""
        self._thread.start()

    def note_change(self, assignment: Assignment) -> None:
        """Queue a changed run for writing."""
        self._changes.put(assignment)

    @property
    def pending_runs(self) -> int:
        """The number of runs that have changed since they were written."""
        return len(self._pending) + self._changes.qsize()

    def close(self, *, seconds: float) -> None:
        """Write the pending runs for at most `seconds` and end every run, unfinished ones as paused.

        Afterwards no more requests start: another projection of the study may follow.
        """
        self._changes.put(None)
        deadline, first_failure = time.monotonic() + seconds, math.inf
        while self._thread.is_alive() and time.monotonic() < min(
            deadline, first_failure + MAX_FAILURE_SECONDS
        ):
            self._thread.join(min(1.0, seconds))
            first_failure = math.inf if self.error is None else min(first_failure, time.monotonic())
        self._stopped.set()
        if self._thread.is_alive() and self.error is None:
            self.error = f"it did not answer within {seconds:g} s"

    def _on_failure(self, error: BaseException) -> None:
        """Handle a failure of the thread, which restarts: whatever it writes may be written twice."""
        self.error = describe_error(error)
        self._writer.forget()

    def _follow(self, stop: threading.Event) -> None:
        del stop  # `close` ends it
        wait = 0.0
        while True:
            self._is_closing = self._collect(wait) or self._is_closing
            if self._stopped.is_set():
                return
            try:
                if not self._allowed():
                    self._stopped.set()
                    self.error = "another process runs the study"
                    return
                self._write_all(paused=self._is_closing)
                if self._stopped.is_set():
                    return
                self.error, wait = None, math.inf
            except Exception as error:  # any error of the client is stored, shown and retried
                self.error = reason(error)
                self._writer.forget()
                wait = 1.0 if wait in (0.0, math.inf) else min(MAX_PAUSE_SECONDS, 2 * wait)
            if self._is_closing and self.error is None:
                return

    def _collect(self, wait: float) -> bool:
        """Wait `wait` seconds for a change and BATCH_SECONDS for more; return whether the study has ended."""
        try:
            change = self._changes.get(timeout=None if math.isinf(wait) else wait)
            deadline = time.monotonic() + BATCH_SECONDS
            while change is not None:
                self._pending[change.key] = change
                change = self._changes.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return False
        return True

    def _write_all(self, *, paused: bool) -> None:
        if not self._writer.is_open:
            self._writer.start()
        if paused:
            self._pending |= {assignment.key: assignment for assignment in self._writer.unwritten_runs()}
        for key, assignment in list(self._pending.items()):
            if self._stopped.is_set():
                return
            record = self._ledger.record(assignment)
            self._writer.write(record, paused=paused)
            self._has_results |= assignment.kind == "final" and record.state != "running"
            del self._pending[key]
        if paused:
            self._writer.end_study()
        elif self._has_results and (start := time.monotonic()) >= self._next_arms:
            self._writer.write_arms()
            end = time.monotonic()
            self._has_results, self._next_arms = False, end + REST * (end - start)
