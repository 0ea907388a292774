"""MLflow as a projection of the ledger: written by one thread, found by key, never able to stop training."""

import hashlib
import json
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from mlflow.entities import Experiment, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from lpstudy.cost import cost_of
from lpstudy.folder import Folder
from lpstudy.ledger import Assignment, Book, Record, State
from lpstudy.space import Arm
from lpstudy.threads import GuardedThread, describe
from lpstudy.tracking.artifacts import files_of, upload
from lpstudy.tracking.client import KEY, PARENT, Facts, Known, find_runs, open_experiment, reason, tag

STATUS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
TRIAL_STATES: tuple[State, ...] = ("finished", "pruned", "failed", "infeasible")
TEST_CORRECT = "test_correct.txt"
"""Artifact of a final: which test images it classifies correctly, as `correctness.pack` writes it."""
PACE = 5.0
"""Seconds over which changes are gathered: a request costs as much as hundreds of points in it."""
LONGEST = 4000
"""Characters of a tag."""
SILENT = 15.0
"""Seconds that the end of a study gives a server that does not do what it is asked."""
LONGEST_PAUSE = 10.0
"""Seconds between two attempts while the server does not answer."""
UNLOGGED = {"checkpoint_seconds", "precision"}
"""Left out so that a run keeps under 40 keys: one changes no result, the other is a tag."""


class Projection:
    """Writes what the ledger knows to MLflow.

    Everything is idempotent: runs are found by their key, a metric point has the same timestamp each time it
    is written, and a run that is complete is not touched again. `changed` only notes; a thread writes, and
    tries again while the server does not answer.

    Args:
        client: Connected.
        ledger: The truth.
        facts: Of the study.
        runs_folder: Holds each run's weights in a folder named by its key.
        allowed: Whether the study is this process's; asked before each batch of writes. False ends it.
    """

    def __init__(
        self,
        client: MlflowClient,
        ledger: Book,
        facts: Facts,
        runs_folder: Folder,
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._allowed = allowed
        self._client, self._ledger, self._facts, self._folder = client, ledger, facts, runs_folder
        self._experiment: Experiment | None = None
        self._runs: dict[str, Known] = {}
        self._described: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._notes: dict[str, dict[str, str]] = {}
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

    def changed(self, assignment: Assignment) -> None:
        """Note that a run has changed."""
        self._changes.put(assignment)

    @property
    def behind(self) -> int:
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
        self.error = describe(error)
        self._experiment = None

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
                self._experiment = None  # which runs there are is asked again: an answer may have been lost
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

    def _open(self) -> Experiment:
        experiment = open_experiment(self._client, self._ledger.spec.name, self._ledger.facts["id"])
        self._runs = find_runs(self._client, experiment)
        self._described.clear()
        self._epochs.clear()
        self._notes.clear()
        self._experiment = experiment
        self._client.log_text(self._report_run(), self._facts.as_text(), "study.json")
        for arm in self._ledger.arms.values():
            self._arm_run(arm)
        return experiment

    def _write_all(self, *, paused: bool) -> None:
        if self._experiment is None:
            self._open()
        if paused:
            for record in self._ledger.records():
                known = self._runs.get(record.assignment.key)
                written = known is not None and known.state == record.state != "running"
                if record.state != "infeasible" and not written:
                    self._behind[record.assignment.key] = record.assignment
        for key, assignment in list(self._behind.items()):
            if self._over.is_set():
                return
            self._write(self._ledger.record(assignment), paused=paused)
            del self._behind[key]
        if paused:
            for arm in self._ledger.arms.values():
                self._end_arm(arm)
            if self._runs["report"].state == "running":
                self._client.set_tag(self._report_run(), tag("state"), "paused")
                self._end(self._report_run(), "report", "paused", None)

    def _write(self, record: Record, *, paused: bool) -> None:
        """One request with all that is new of a run, and another where it has ended or goes on."""
        assignment = record.assignment
        run = self._run(record)
        done = self._epochs.get(assignment.key, 0)
        began = int(1000 * (record.started or 0))
        metrics = [
            Metric(name, value, began + epoch.epoch, epoch.epoch)
            for epoch in record.epochs
            if epoch.epoch > done
            for name, value in epoch.metrics.items()
        ]
        state = "paused" if record.state == "running" and paused else record.state
        notes = {"attempt": str(assignment.attempt), "warnings": json.dumps(record.warnings)[:LONGEST]}
        notes |= {"state": state} | ({"cause": record.cause[:LONGEST]} if record.cause is not None else {})
        if record.test_correct and state == "finished":
            notes["test_correct"] = digest(record.test_correct)
        if state in TRIAL_STATES:
            notes["epochs"] = str(len(record.epochs))
        known = self._notes.get(assignment.key, {})
        tags = [RunTag(tag(name), value) for name, value in notes.items() if known.get(name) != value]
        if self._undescribed(assignment.key):
            arm = self._ledger.arms[assignment.arm]
            metrics += self._cost(arm, assignment, began)
            self._client.log_batch(run, metrics, _params(arm.fixed | dict(assignment.values)), tags)
            self._described.add(assignment.key)
        else:
            self._client.log_batch(run, metrics, tags=tags)
        self._epochs[assignment.key], self._notes[assignment.key] = len(record.epochs), notes
        if state == "finished" and assignment.kind == "final":
            self._log_weights(run, self._folder / assignment.key)
            if record.test_correct:
                self._client.log_text(run, record.test_correct, TEST_CORRECT)
        if state != "running":
            self._end(run, assignment.key, state, record.ended)
        elif self._runs[assignment.key].state != "running":
            self._client.update_run(run, status="RUNNING")
            self._runs[assignment.key] = Known(run, state)

    def _log_weights(self, run: str, folder: Folder) -> None:
        """With their description, where they are there; MLflow takes a file of this machine alone."""
        upload(self._client, run, folder, files_of(folder))

    def _cost(self, arm: Arm, assignment: Assignment, began: int) -> list[Metric]:
        """What the student costs, which stays the same."""
        spec = arm.student_spec(assignment.values)
        cost = cost_of(spec, input_shape=self._ledger.input_shape, classes=self._ledger.classes)
        figures = {"parameters": cost.parameters, "macs": cost.macs, "flops": cost.flops}
        return [Metric(name, value, began, 0) for name, value in figures.items()]

    def _run(self, record: Record) -> str:
        """The run of a trial or final; made, with its tags, where there is none."""
        assignment = record.assignment
        if assignment.key in self._runs:
            return self._runs[assignment.key].run_id
        arm = self._ledger.arms[assignment.arm]
        tags = {
            tag("arm"): arm.name,
            tag("method"): arm.method,
            tag("kind"): assignment.kind,
            tag("trial"): str(assignment.number),
            tag("seed"): str(assignment.seed),
            tag("student"): arm.student_spec(assignment.values).label(),
            PARENT: self._arm_run(arm),
        }
        began = int(1000 * (record.started or 0))
        return self._found(assignment.key, assignment.key.split("/")[1], tags, began)

    def _arm_run(self, arm: Arm) -> str:
        key = f"arm/{arm.name}"
        tags = {tag("arm"): arm.name, tag("method"): arm.method, tag("kind"): "arm"}
        run = self._found(key, arm.name, tags, None)
        if self._undescribed(key):
            self._client.log_batch(run, params=_params({**arm.fixed, **arm.searched}))
            self._described.add(key)
        return run

    def _undescribed(self, key: str) -> bool:
        """Whether to write what stays the same: in a later process again, for a write may have been lost."""
        return key not in self._described and self._runs[key].state == "running"

    def _end_arm(self, arm: Arm) -> None:
        """Bring an arm's counts up to date and end its run; nothing is written where nothing has changed."""
        records = [r for r in self._ledger.records() if r.assignment.arm == arm.name]
        trials = [r for r in records if r.assignment.kind == "trial"]
        counts = Counter(record.state for record in trials)
        figures = {f"trials_{state}": float(counts[state]) for state in TRIAL_STATES}
        winner = self._ledger.winner(arm.name)
        if winner is not None:
            figures["best_validation_accuracy"] = winner.values[0]
        run = self._arm_run(arm)
        step = len(records)
        metrics = [Metric(name, value, step, step) for name, value in figures.items()]
        self._client.log_batch(run, metrics, tags=[RunTag(tag("state"), "finished")])
        self._end(run, f"arm/{arm.name}", "finished", None)

    def _report_run(self) -> str:
        return self._found("report", "report", {tag("kind"): "report"}, None)

    def _found(self, key: str, name: str, tags: Mapping[str, str], began: int | None) -> str:
        """The run of that key; made, with its tags, where there is none."""
        known = self._runs.get(key)
        if known is not None:
            return known.run_id
        if self._experiment is None:
            raise RuntimeError("the experiment is not open")
        common = {KEY: key, tag("study"): self._ledger.spec.name, tag("state"): "running"}
        run = self._client.create_run(
            str(self._experiment.experiment_id),
            start_time=began,
            run_name=name,
            tags={**common, **self._facts.tags(), **tags},
        )
        self._runs[key] = Known(str(run.info.run_id), "running")
        return str(run.info.run_id)

    def _end(self, run: str, key: str, state: str, ended: float | None) -> None:
        """End a run whose state is written: one that a kill keeps from its end is written again."""
        self._client.set_terminated(
            run, STATUS.get(state, "KILLED"), end_time=int(1000 * ended) if ended else None
        )
        self._runs[key] = Known(run, state)


def digest(record: str) -> str:
    """SHA-256 of the text that says which test images a final classifies correctly; a tag of its run."""
    return hashlib.sha256(record.encode()).hexdigest()


def _params(values: Mapping[str, object]) -> list[Param]:
    return [Param(name, str(value)) for name, value in values.items() if name not in UNLOGGED]
