"""MLflow as a projection of the ledger: written by one thread, found by key, never able to stop training."""

import json
import queue
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from lpstudy.cost import cost_of
from lpstudy.ledger import Assignment, Ledger, Record, State
from lpstudy.space import Arm
from lpstudy.tracking.client import KEY, PARENT, Facts, Known, find_runs, open_experiment, tag

STATUS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
TRIAL_STATES: tuple[State, ...] = ("finished", "pruned", "failed", "infeasible")
BATCH = 1000
"""Metrics that MLflow takes in one request."""
LONGEST = 4000
"""Characters of a tag."""
UNLOGGED = {"checkpoint_seconds"}
"""Changes no result; left out so that a run keeps under 40 keys."""


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
    """

    def __init__(self, client: MlflowClient, ledger: Ledger, facts: Facts, runs_folder: Path) -> None:
        self._client, self._ledger, self._facts, self._folder = client, ledger, facts, runs_folder
        self._experiment = open_experiment(client, ledger.spec.name, ledger.facts["id"])
        self._runs = find_runs(client, self._experiment)
        self._epochs: dict[str, int] = {}
        self._changes: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._follow, name="mlflow", daemon=True)
        self._behind: dict[str, Assignment] = {}
        self.error: str | None = None
        """Why the last attempt to write failed; None while all is well."""

    @property
    def experiment_id(self) -> str:
        """Of the study."""
        return str(self._experiment.experiment_id)

    @property
    def behind(self) -> int:
        """How many runs have changed and are not written yet."""
        return len(self._behind)

    def start(self) -> None:
        """Write the study's facts and its arms, then follow the ledger."""
        self._client.log_text(self._report_run(), self._facts.as_text(), "study.json")
        for arm in self._ledger.arms.values():
            self._arm_run(arm)
        self._thread.start()

    def changed(self, assignment: Assignment) -> None:
        """Note that a run has changed."""
        self._changes.put(assignment)

    def close(self, *, seconds: float) -> None:
        """Write what is left, for at most so many seconds, and end every run, the unfinished as paused."""
        for record in self._ledger.records():
            known = self._runs.get(record.assignment.key)
            if record.state != "infeasible" and (known is None or known.state != record.state):
                self._changes.put(record.assignment)
        self._changes.put(None)
        self._thread.join(seconds)

    def _follow(self) -> None:
        ending, pause = False, 0.5
        while True:
            ending = self._collect(ending, pause)
            try:
                self._write_all(paused=ending)
                self.error, pause = None, 0.5
            except Exception as error:  # whatever the client throws is kept, shown and tried again
                self.error = " ".join(str(error).split())[:300]
                pause = min(30.0, 2 * pause)
            if ending and self.error is None:
                return

    def _collect(self, ending: bool, pause: float) -> bool:
        """Wait for changes, or for a while if some are unwritten; returns whether the study has ended."""
        block = not ending or bool(self._behind)
        try:
            change = self._changes.get(block=block, timeout=pause if self._behind or ending else None)
            while True:
                if change is None:
                    ending = True
                else:
                    self._behind[change.key] = change
                change = self._changes.get_nowait()
        except queue.Empty:
            return ending

    def _write_all(self, *, paused: bool) -> None:
        for key, assignment in list(self._behind.items()):
            self._write(self._ledger.record(assignment), paused=paused)
            del self._behind[key]
        if paused:
            for arm in self._ledger.arms.values():
                self._end_arm(arm)

    def _write(self, record: Record, *, paused: bool) -> None:
        assignment = record.assignment
        run = self._run(record)
        done = self._epochs.get(assignment.key, 0)
        begin = int(1000 * (record.started or 0))
        metrics = [
            Metric(name, value, begin + epoch.epoch, epoch.epoch)
            for epoch in record.epochs
            if epoch.epoch > done
            for name, value in epoch.metrics.items()
        ]
        for first in range(0, len(metrics), BATCH):
            self._client.log_batch(run, metrics=metrics[first : first + BATCH])
        state = "paused" if record.state == "running" and paused else record.state
        notes = {"attempt": str(assignment.attempt), "warnings": json.dumps(record.warnings)[:LONGEST]}
        if record.cause is not None:
            notes["cause"] = record.cause[:LONGEST]
        self._client.log_batch(run, tags=[RunTag(tag(name), value) for name, value in notes.items()])
        self._epochs[assignment.key] = len(record.epochs)
        weights = self._folder / assignment.key / "weights.safetensors"
        if state == "finished" and assignment.kind == "final" and weights.is_file():
            self._client.log_artifact(run, str(weights))
        if state == "running":
            if self._runs[assignment.key].state != "running":
                self._client.update_run(run, status="RUNNING")
            self._client.set_tag(run, tag("state"), state)
            self._runs[assignment.key] = Known(run, state)
        else:
            self._end(run, assignment.key, state, record.ended)

    def _run(self, record: Record) -> str:
        """The run of a trial or final; a new one gets its tags, hyperparameters and cost."""
        assignment = record.assignment
        known = self._runs.get(assignment.key)
        if known is not None:
            return known.run_id
        arm = self._ledger.arms[assignment.arm]
        spec = arm.student_spec(assignment.values)
        cost = cost_of(spec, input_shape=self._ledger.input_shape, classes=self._ledger.classes)
        tags = {
            tag("arm"): arm.name,
            tag("method"): arm.method,
            tag("kind"): assignment.kind,
            tag("trial"): str(assignment.number),
            tag("seed"): str(assignment.seed),
            tag("student"): spec.label(),
        }
        began = int(1000 * record.started) if record.started else None
        run = self._create(assignment.key, assignment.key.split("/")[1], tags, self._arm_run(arm), began)
        values = {k: v for k, v in (arm.fixed | dict(assignment.values)).items() if k not in UNLOGGED}
        figures = {"parameters": cost.parameters, "macs": cost.macs, "flops": cost.flops}
        self._client.log_batch(
            run,
            params=[Param(name, str(value)) for name, value in values.items()],
            metrics=[Metric(name, value, began or 0, 0) for name, value in figures.items()],
        )
        return run

    def _arm_run(self, arm: Arm) -> str:
        known = self._runs.get(f"arm/{arm.name}")
        if known is not None:
            return known.run_id
        tags = {tag("arm"): arm.name, tag("method"): arm.method, tag("kind"): "arm"}
        run = self._create(f"arm/{arm.name}", arm.name, tags, None, None)
        spaces = {**arm.fixed, **arm.searched}
        params = [Param(name, str(space)) for name, space in spaces.items() if name not in UNLOGGED]
        self._client.log_batch(run, params=params)
        return run

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
        self._client.log_batch(run, metrics=metrics)
        self._end(run, f"arm/{arm.name}", "finished", None)

    def _report_run(self) -> str:
        known = self._runs.get("report")
        tags = {tag("kind"): "report"}
        return known.run_id if known else self._create("report", "report", tags, None, None)

    def _create(
        self, key: str, name: str, tags: Mapping[str, str], parent: str | None, began: int | None
    ) -> str:
        common = self._facts.tags() | {
            KEY: key,
            tag("study"): self._ledger.spec.name,
            tag("state"): "running",
        }
        family = {PARENT: parent} if parent else {}
        run = self._client.create_run(
            self.experiment_id, start_time=began, run_name=name, tags={**common, **family, **tags}
        )
        self._runs[key] = Known(str(run.info.run_id), "running")
        return str(run.info.run_id)

    def _end(self, run: str, key: str, state: str, ended: float | None) -> None:
        self._client.set_tag(run, tag("state"), state)
        self._client.set_terminated(
            run, STATUS.get(state, "KILLED"), end_time=int(1000 * ended) if ended else None
        )
        self._runs[key] = Known(run, state)
