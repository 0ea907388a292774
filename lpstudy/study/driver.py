"""The driver of a study's runs: it hands them out, records their reports and decides how each continues.

It knows neither Ray nor processes: `InProcess` and Ray Tune's adapters call it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from lpstudy.ledger import Assignment, Done, FencedError, Ledger, State, UnwritableError, Waiting
from lpstudy.outputs import EpochResult
from lpstudy.study.control import FAULT_SECONDS, PausedError, StudyControl
from lpstudy.study.run_end import EndKind, RunEnd
from lpstudy.study.run_job import RunJob

MAX_RESTARTS = 2
"""How often in a row, without progress in between, a run that lost its process is restarted."""
Observer = Callable[[Assignment], None]
"""A function called after a run has changed in the ledger."""


class Decision(Enum):
    """How a run continues after a report."""

    CONTINUE = "continue"
    STOP = "stop"


class Jobs(Protocol):
    """The jobs of a study's runs, and their checkpoints: see `RunJobs`."""

    def job(self, assignment: Assignment) -> RunJob:
        """The job of a run."""
        ...

    def newest_checkpoint(self, assignment: Assignment) -> str:
        """The name of a run's newest checkpoint; a greater name shows progress."""
        ...

    def drop_checkpoints(self, assignment: Assignment) -> None:
        """Remove the checkpoints of a run that has ended."""
        ...


@dataclass(slots=True)
class RunningTrial:
    """A trial or final that runs now."""

    assignment: Assignment
    newest_epoch: int = 0
    newest_checkpoint: str = ""
    losses: int = 0
    """How often its process was lost."""
    losses_in_a_row: int = 0
    """The same since its last progress."""
    is_pruned: bool = False
    """Whether it was pruned, while its workers train until they read the control file."""
    is_dismissed: bool = False
    """Whether it ends itself; its later reports do not count."""
    is_paused: bool = False
    """Whether it stays unfinished in the ledger, which hands it out again."""
    is_announced: bool = False
    """Whether the observer has been called for its end."""


class Driver:
    """The driver of a study's runs; all methods are called in one thread.

    Args:
        ledger: The study's ledger, which has adopted its unfinished runs.
        control: The study's current request.
        jobs: The runs' jobs and checkpoints.
        observer: Called after every change of a run; for an end, once the run's processes write nothing more.
        ends_runs: Whether a run that must end early is stopped by whoever trains it. Otherwise it ends itself
            by the control file, because killed Ray Train workers may keep their share of the cluster.
    """

    def __init__(
        self, ledger: Ledger, control: StudyControl, jobs: Jobs, observer: Observer, *, ends_runs: bool = True
    ) -> None:
        self.ledger, self.control = ledger, control
        self._jobs, self._observer, self._ends_runs = jobs, observer, ends_runs
        self._running: dict[str, RunningTrial] = {}
        self._ended_runs: list[Assignment] = []
        hours = ledger.spec.budget.hours
        self._deadline = None if hours is None else time.monotonic() + 3600 * hours
        control.live_trials = 0

    def next(self, at_most: int) -> RunJob | Waiting | Done:
        """The next run's job; Waiting while others must end first or so many run already.

        It is Done when no run is left, or as soon as the request is not `run`.
        """
        if self.control.request != "run":
            return Done()
        if len(self._running) >= at_most:
            return Waiting()
        with self._pausing():
            match self.ledger.next(searching=self._is_searching()):
                case Assignment() as assignment:
                    self._running[assignment.key] = RunningTrial(assignment)
                    self.control.live_trials = len(self._running)
                    return self._jobs.job(assignment)
                case waiting_or_done:
                    return waiting_or_done
        return Done()

    def on_report(self, key: str, results: list[EpochResult], end: RunEnd | None) -> Decision:
        """Record a run's epochs and how it ends early, if it does; decide how it continues."""
        run = self._running.get(key)
        if run is None:
            return Decision.STOP
        if run.is_dismissed:
            return Decision.CONTINUE
        if self.control.fault is None:
            with self._pausing():
                if self._record(run, results, end):
                    return Decision.CONTINUE
                if not self._ends_runs:
                    run.is_dismissed = True
                    self.control.end_run(key)
                    return Decision.CONTINUE
                self._announce(run)
                return Decision.STOP
        run.is_paused = True  # the ledger lacks this report, its checkpoint has it
        return Decision.STOP

    def _record(self, run: RunningTrial, results: list[EpochResult], end: RunEnd | None) -> bool:
        """Record a report; returns whether the run continues."""
        assignment = run.assignment
        pruned = self.ledger.report(assignment, results)
        if pruned and not self._ends_runs:
            run.is_pruned = True
            self.control.end_run(assignment.key)
        elif pruned:
            self._finish(assignment, "pruned")
            return False
        if end is not None and end.is_pause and run.is_pruned:
            self._finish(assignment, "pruned")
            return False
        if end is not None and end.is_of_storage:
            needs_repair = end.kind is not EndKind.UNREACHABLE
            self.control.fail(UnwritableError(end.cause, needs_repair=needs_repair), seconds=FAULT_SECONDS)
        if end is not None and (end.is_pause or end.is_of_storage):
            run.is_paused = True
            return False
        if end is not None:
            self._finish(assignment, "failed", end.cause)
            return False
        epoch = results[-1].epoch if results else 0
        if epoch > run.newest_epoch:
            run.newest_epoch, run.losses_in_a_row = epoch, 0
        self._observer(assignment)
        return True

    def on_end(self, key: str) -> None:
        """Record that a run has ended by itself or was stopped: its processes write nothing more."""
        if (run := self._remove(key)) is not None:
            with self._pausing():
                if not run.is_paused:
                    self._finish(run.assignment, self._state_at_end(run))
                self._announce(run)

    def on_lost(self, key: str, cause: str) -> bool:
        """Record that a run's process was lost; returns whether the run is restarted, as another attempt."""
        run = self._running[key]
        newest = self._jobs.newest_checkpoint(run.assignment)
        if newest > run.newest_checkpoint:  # it has made progress within an epoch
            run.newest_checkpoint, run.losses_in_a_row = newest, 0
        run.losses += 1
        run.losses_in_a_row += 1
        if run.losses_in_a_row > MAX_RESTARTS:
            self.on_failed(key, cause)
            return False
        with self._pausing():
            self.ledger.set_attempt(run.assignment, run.assignment.attempt + run.losses)
        return True

    def restarts_remaining(self, key: str) -> int:
        """How often a run is restarted if it makes no progress."""
        run = self._running.get(key)
        return 0 if run is None else MAX_RESTARTS - run.losses_in_a_row

    def on_failed(self, key: str, cause: str) -> None:
        """Record that a run failed for good."""
        if (run := self._remove(key)) is not None:
            with self._pausing():
                if not run.is_paused:
                    is_pruned = self._state_at_end(run) == "pruned"
                    self._finish(run.assignment, *(("pruned",) if is_pruned else ("failed", cause)))
                self._announce(run)

    def on_removed(self, key: str) -> None:
        """Record that a run was removed before it started: the ledger hands it out again."""
        self._remove(key)

    def cancel(self) -> None:
        """Mark every unfinished run as cancelled."""
        for assignment in self.ledger.cancel():
            self._change(assignment)

    def drop_checkpoints(self) -> None:
        """Remove what ended runs wrote after their end."""
        for assignment in self._ended_runs:
            self._jobs.drop_checkpoints(assignment)
        self._ended_runs.clear()

    def has_pending_runs(self) -> bool:
        """Whether runs remain, because a request was revoked while the last ones ended."""
        return self.ledger.has_startable_runs(searching=self._is_searching())

    def _is_searching(self) -> bool:
        return self._deadline is None or time.monotonic() < self._deadline

    def _remove(self, key: str) -> RunningTrial | None:
        run = self._running.pop(key, None)
        self.control.live_trials = len(self._running)
        return run

    def _state_at_end(self, run: RunningTrial) -> State:
        """The state of a run that ended by itself; on workers, a pruned run may reach its last epoch."""
        epochs = len(self.ledger.record(run.assignment).epochs)
        all_epochs = self.ledger.arms[run.assignment.arm].epochs
        return "pruned" if run.is_pruned and epochs < all_epochs else "finished"

    def _finish(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        if self.ledger.is_running(assignment):  # the end of a stopped run is reported too
            self.ledger.finish(assignment, state, cause)

    def _announce(self, run: RunningTrial) -> None:
        if not run.is_announced:
            run.is_announced = True
            self._change(run.assignment)

    def _change(self, assignment: Assignment) -> None:
        if not self.ledger.is_running(assignment):
            self._ended_runs.append(assignment)
            self._jobs.drop_checkpoints(assignment)
        self._observer(assignment)

    @contextmanager
    def _pausing(self) -> Iterator[None]:
        """A context in which an unwritable ledger pauses the study; it is not the run's fault."""
        try:
            yield
        except (UnwritableError, FencedError) as error:
            self.control.fail(error, seconds=FAULT_SECONDS if isinstance(error, UnwritableError) else 0.0)


def run_all(driver: Driver, train_runs: Callable[[Driver], None]) -> None:
    """Run all trials and finals of the ledger; returns when none is left, or at stop or cancel.

    Args:
        driver: The driver of the runs.
        train_runs: Trains the driver's runs until it is done.

    Raises:
        PausedError: The study is paused; every unfinished run has its checkpoint.
        UnwritableError: The ledger or a disk cannot be written.
        FencedError: Another process has taken the study over.
    """
    control = driver.control
    while True:
        train_runs(driver)
        if control.fault is not None:
            raise control.fault
        driver.drop_checkpoints()
        match control.request:
            case "pause":
                raise PausedError(control.current.why)
            case "cancel":
                return driver.cancel()
            case "stop":
                return None
        if not driver.has_pending_runs():
            return None
        driver.ledger.adopt_unfinished()
