"""A writer of the ledger's runs to MLflow: it creates, updates and ends runs, identified by key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, RunTag
from mlflow.tracking import MlflowClient

from lpstudy.cost import cost_of
from lpstudy.folder import Folder
from lpstudy.ledger import Assignment, LedgerReader, Record
from lpstudy.model_file import WEIGHTS
from lpstudy.space import Arm
from lpstudy.tracking.artifact_files import upload_text
from lpstudy.tracking.artifact_location import files_of, upload_files
from lpstudy.tracking.client import KEY, PARENT, TrackedRun, find_runs, open_experiment, tag
from lpstudy.tracking.descriptions import (
    NOTE,
    arm_note,
    design_params,
    experiment_note,
    params,
    report_note,
    run_name,
    run_note,
    teacher_note,
)
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import StudyJson
from lpstudy.tracking.study_metadata import StudyMetadata
from lpstudy.tracking.summaries import TRIAL_STATES, arm_figures, write_arm_figures

STATUS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
TEST_CORRECT = "test_correct.txt"
"""A final's artifact: its record of correctly classified test images (`correctness.pack`)."""
TEACHER_FIGURES = ("validation_accuracy", "test_accuracy", "parameters", "macs", "training_macs")
MAX_TAG_LENGTH = 4000
"""The most characters of a tag."""


class RunWriter:
    """Writes a study's runs to MLflow; every write may be repeated.

    Args:
        client: A connected client.
        ledger: The ledger to write.
        facts: The study's metadata.
        runs_folder: The folder with each run's weights in a folder named by its key.
    """

    def __init__(
        self, client: MlflowClient, ledger: LedgerReader, facts: StudyMetadata, runs_folder: Folder
    ) -> None:
        self._client, self._ledger, self._facts, self._folder = client, ledger, facts, runs_folder
        self._experiment: Experiment | None = None
        self._runs: dict[str, TrackedRun] = {}
        self._described_keys: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._notes: dict[str, dict[str, str]] = {}
        self._figures: dict[str, dict[str, float]] = {}

    @property
    def _experiment_id(self) -> str:
        """The id of the open experiment."""
        if self._experiment is None:
            raise RuntimeError("the experiment is not open")
        return str(self._experiment.experiment_id)

    @property
    def is_open(self) -> bool:
        """Whether the experiment and its runs are known."""
        return self._experiment is not None

    def forget(self) -> None:
        """Drop the known runs, so that they are read again: a response may have been lost."""
        self._experiment = None

    def start(self) -> None:
        """Open or create the experiment; write the study's metadata and its arms."""
        spec = self._ledger.spec
        experiment = open_experiment(self._client, spec.name, self._ledger.facts["id"])
        self._runs = find_runs(self._client, experiment)
        self._described_keys.clear()
        self._epochs.clear()
        self._notes.clear()
        self._figures.clear()
        self._experiment = experiment
        self._report_run()
        upload_text(self._client, self._runs["report"].location, self._facts.as_text(), "study.json")
        self._client.set_experiment_tag(
            experiment.experiment_id, NOTE, experiment_note(spec, self._experiment_id)
        )
        self._teacher_run()
        for arm in self._ledger.arms.values():
            self._arm_run(arm)

    def unwritten_runs(self) -> list[Assignment]:
        """The runs that are missing or not ended in MLflow."""
        assignments = []
        for record in self._ledger.records():
            run = self._runs.get(record.assignment.key)
            is_written = run is not None and run.state == record.state != "running"
            if record.state != "infeasible" and not is_written:
                assignments.append(record.assignment)
        return assignments

    def write_arms(self) -> None:
        """Write the figures of the arms that have changed."""
        study_json = StudyJson.model_validate_json(self._facts.as_text())
        study = study_facts(study_json, self._ledger.spec, {}, experiment="", teacher="")
        for name, figures in arm_figures(self._ledger, study).items():
            if self._figures.get(name) != figures:
                run = self._arm_run(self._ledger.arms[name])
                write_arm_figures(self._client, self._ledger, run, figures)
                self._figures[name] = figures

    def end_study(self) -> None:
        """Update and end the arms' runs; pause the report's run."""
        self.write_arms()
        for arm in self._ledger.arms.values():
            self._client.set_tag(self._arm_run(arm), tag("state"), "finished")
            self._end(f"arm/{arm.name}", "finished", None)
        self._pause_hidden_runs()
        if self._runs["report"].state == "running":
            self._client.set_tag(self._report_run(), tag("state"), "paused")
            self._end("report", "paused", None)

    def _pause_hidden_runs(self) -> None:
        """End the open runs of hidden arms: no process resumes them until the study file has them again."""
        for key, run in self._runs.items():
            arm = key.removeprefix("arm/").partition("/")[0]
            if arm in self._ledger.hidden and run.state == "running":
                self._client.set_tag(run.run_id, tag("state"), "paused")
                self._client.set_terminated(run.run_id, "KILLED")
                self._runs[key] = replace(run, state="paused")

    def write(self, record: Record, *, paused: bool) -> None:
        """Write a run's changes in one request, and its end or resumption in another."""
        assignment = record.assignment
        run = self._run(record)
        epochs_written = self._epochs.get(assignment.key, 0)
        start_time = int(1000 * (record.started or 0))
        metrics = [
            Metric(name, value, start_time + epoch.epoch, epoch.epoch)
            for epoch in record.epochs
            if epoch.epoch > epochs_written
            for name, value in epoch.metrics.items()
        ]
        state = "paused" if record.state == "running" and paused else record.state
        notes = {"attempt": str(assignment.attempt), "warnings": json.dumps(record.warnings)[:MAX_TAG_LENGTH]}
        notes |= {"state": state} | (
            {"cause": record.cause[:MAX_TAG_LENGTH]} if record.cause is not None else {}
        )
        if record.test_correct and state == "finished":
            notes["test_correct"] = digest(record.test_correct)
        if state in TRIAL_STATES:
            notes["epochs"] = str(len(record.epochs))
        previous = self._notes.get(assignment.key, {})
        tags = [RunTag(tag(name), value) for name, value in notes.items() if previous.get(name) != value]
        if self._needs_description(assignment.key):
            arm = self._ledger.arms[assignment.arm]
            metrics += self._cost(arm, assignment, start_time)
            design = design_params(arm, arm.student_spec(assignment.values))
            values = design | arm.fixed | dict(assignment.values)
            self._client.log_batch(run, metrics, params(values), tags)
            if assignment.kind == "final":
                self._log_data(run, "testing")
            self._described_keys.add(assignment.key)
        else:
            self._client.log_batch(run, metrics, tags=tags)
        self._epochs[assignment.key], self._notes[assignment.key] = len(record.epochs), notes
        if state == "finished" and assignment.kind == "final":
            location = self._runs[assignment.key].location
            folder = self._folder / assignment.key
            upload_files(self._client, location, folder, files_of(folder))
            if record.test_correct:
                upload_text(self._client, location, record.test_correct, TEST_CORRECT)
        if state != "running":
            self._end(assignment.key, state, record.ended)
        elif self._runs[assignment.key].state != "running":
            self._client.update_run(run, status="RUNNING")
            self._runs[assignment.key] = replace(self._runs[assignment.key], state=state)

    def _cost(self, arm: Arm, assignment: Assignment, start_time: int) -> list[Metric]:
        """The student's cost, which is constant."""
        spec = arm.student_spec(assignment.values)
        cost = cost_of(spec, input_shape=self._ledger.input_shape, classes=self._ledger.classes)
        figures = {"parameters": cost.parameters, "macs": cost.macs, "flops": cost.flops}
        return [Metric(name, value, start_time, 0) for name, value in figures.items()]

    def _run(self, record: Record) -> str:
        """The id of a trial's or final's run, created with its tags if missing."""
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
            NOTE: run_note(arm, assignment),
        }
        start_time = int(1000 * (record.started or 0))
        return self._find_or_create(assignment.key, run_name(arm, assignment), tags, start_time)

    def _arm_run(self, arm: Arm) -> str:
        key = f"arm/{arm.name}"
        tags = {tag("arm"): arm.name, tag("method"): arm.method, tag("kind"): "arm"}
        tags |= {tag("student"): arm.student.label, NOTE: arm_note(arm, self._experiment_id)}
        run = self._find_or_create(key, arm.name, tags, None)
        if self._needs_description(key):
            values = {**design_params(arm, None), **arm.fixed, **arm.searched}
            self._client.log_batch(run, params=params(values))
            self._log_data(run, "training")
            self._described_keys.add(key)
        return run

    def _teacher_run(self) -> None:
        """Write the teacher's run once, with its figures and the location of its weights."""
        facts, spec = self._facts.teacher, self._ledger.spec.teacher
        weights = spec.weights or f"teachers/{facts['key']}/{WEIGHTS} in LPSTUDY_CACHE"
        tags = {tag("kind"): "teacher", tag("weights"): weights, tag("sha256"): str(facts["sha256"])}
        note = {NOTE: teacher_note(self._ledger.spec)}
        run = self._find_or_create("teacher", f"teacher {facts['label']}", tags | note, None)
        if not self._needs_description("teacher"):
            return
        figures = {name: facts[name] for name in TEACHER_FIGURES if facts.get(name) is not None}
        figures["flops"] = 2 * facts["macs"]
        table = spec.model_dump(mode="json", exclude_none=True, exclude={"weights"})
        values = {"method": "teacher", "student": facts["label"]} | table
        metrics = [Metric(name, float(value), 0, 0) for name, value in figures.items()]
        state = [RunTag(tag("state"), "finished")]
        self._client.log_batch(run, metrics, params(values), state)
        self._log_data(run, "training")
        self._end("teacher", "finished", None)

    def _log_data(self, run: str, context: str) -> None:
        """Log a run's data set: its name, digest and sample counts."""
        data = self._facts.data
        dataset = Dataset(
            name=str(data["name"]),
            digest=self._facts.provenance.get("data hash", "")[:36] or "unknown",
            source_type="lpstudy",
            source=json.dumps({"kind": self._ledger.spec.data.kind}),
            profile=json.dumps({name: data[name] for name in ("classes", "train", "validation", "test")}),
        )
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(run, [DatasetInput(dataset, tags)])

    def _needs_description(self, key: str) -> bool:
        """Whether to write the constant values; a later process repeats them: a write may be lost."""
        return key not in self._described_keys and self._runs[key].state == "running"

    def _report_run(self) -> str:
        return self._find_or_create("report", "report", {tag("kind"): "report", NOTE: report_note()}, None)

    def _find_or_create(self, key: str, name: str, tags: Mapping[str, str], start_time: int | None) -> str:
        """The id of the run with that key, created with its tags if missing."""
        existing = self._runs.get(key)
        if existing is not None:
            return existing.run_id
        common = {KEY: key, tag("study"): self._ledger.spec.name, tag("state"): "running"}
        run = self._client.create_run(
            self._experiment_id,
            start_time=start_time,
            run_name=name,
            tags={**common, **self._facts.tags(), **tags},
        )
        self._runs[key] = TrackedRun(str(run.info.run_id), "running", str(run.info.artifact_uri))
        return str(run.info.run_id)

    def _end(self, key: str, state: str, end: float | None) -> None:
        """End a run after its state is written; a process killed in between leaves it to be written again."""
        self._client.set_terminated(
            self._runs[key].run_id, STATUS.get(state, "KILLED"), end_time=int(1000 * end) if end else None
        )
        self._runs[key] = replace(self._runs[key], state=state)


def digest(record: str) -> str:
    """SHA-256 of a final's record of test images; a tag of its run."""
    return hashlib.sha256(record.encode()).hexdigest()
