"""Comparison of MLflow with the ledger, and repair of the differences."""

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import get_args

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from lpstudy.folder import Folder
from lpstudy.ledger import Kind, LedgerReader, Record
from lpstudy.tracking.artifact_files import download, upload_text
from lpstudy.tracking.artifact_location import files_of, missing_files, upload_files
from lpstudy.tracking.client import (
    KEY,
    all_runs,
    experiment_name,
    find_runs,
    open_experiment,
    tag,
)
from lpstudy.tracking.ledger_results import has_results, ledger_results
from lpstudy.tracking.projection import Projection
from lpstudy.tracking.run_writer import STATUS, TEST_CORRECT, digest
from lpstudy.tracking.study_metadata import StudyMetadata
from lpstudy.tracking.summaries import arm_figures, differing_figure

FINAL_METRICS = ("validation_accuracy", "test_accuracy")
STUDY_FILE = "study.json"
OPEN_STATES = ("running", "paused")


@dataclass(frozen=True, slots=True)
class Difference:
    """A run that differs between ledger and MLflow."""

    key: str
    what: str


def compare(ledger: LedgerReader, client: MlflowClient, runs: Folder) -> list[Difference]:
    """All differences in runs, their trials, seeds, states, final metrics and files, and in arms' figures.

    Args:
        ledger: The study's ledger.
        client: A connected client.
        runs: The folder of the runs' weights; MLflow need not have files that this folder names.
    """
    differences = [difference for _, difference in _compare(ledger, client)]
    differences += _differing_arms(ledger, client)
    return differences + [Difference(one.key, one.what) for one in _missing_files(ledger, client, runs)]


def repair(
    ledger: LedgerReader, client: MlflowClient, facts: StudyMetadata, runs: Folder, *, seconds: float
) -> str | None:
    """Write the differing runs again and delete runs that the ledger does not have.

    No other process may be writing the study. Returns why MLflow did not accept the writes, or None.

    Args:
        ledger: The study's ledger.
        client: A connected client.
        facts: The study's metadata.
        runs: The folder of the runs' weights.
        seconds: The longest duration of the writes.
    """
    open_experiment(client, ledger.spec.name, ledger.facts["id"])
    for run, _ in _compare(ledger, client):
        if run is not None:
            client.delete_run(run.info.run_id)
    for missing in _missing_files(ledger, client, runs):
        texts = {STUDY_FILE: facts.as_text(), TEST_CORRECT: missing.test_correct}
        for name in texts.keys() & {*missing.names}:
            upload_text(client, missing.location, texts[name], name)
        upload_files(
            client, missing.location, runs / missing.key, [n for n in missing.names if n not in texts]
        )
    projection = Projection(client, ledger, facts, runs)
    projection.start()
    projection.close(seconds=seconds)
    return projection.error


@dataclass(frozen=True, slots=True)
class _MissingFiles:
    """Files of a run that MLflow names or that differ there."""

    key: str
    location: str
    names: list[str]
    test_correct: str = ""

    @property
    def what(self) -> str:
        """The text of a `Difference`."""
        return f"has no {', '.join(self.names)} in MLflow, or another one"


def _missing_files(ledger: LedgerReader, client: MlflowClient, runs: Folder) -> Iterator[_MissingFiles]:
    """The missing files of each final that both have, and of the report's run."""
    experiment = client.get_experiment_by_name(experiment_name(ledger.spec.name))
    if experiment is None:
        return
    tracked = find_runs(client, experiment)
    if "report" in tracked and (names := missing_files(client, tracked["report"].run_id, [STUDY_FILE])):
        yield _MissingFiles("report", tracked["report"].location, names)
    for record in ledger.records():
        key, correct = record.assignment.key, record.test_correct
        if record.assignment.kind != "final" or record.state != "finished" or key not in tracked:
            continue
        expected = files_of(runs / key) + ([TEST_CORRECT] if correct else [])
        names = missing_files(client, tracked[key].run_id, expected)
        if correct and TEST_CORRECT not in names and not _has_record(client, tracked[key].location, correct):
            names = [*names, TEST_CORRECT]
        if names:
            yield _MissingFiles(key, tracked[key].location, names, correct or "")


def _differing_arms(ledger: LedgerReader, client: MlflowClient) -> Iterator[Difference]:
    """The arms' runs whose figures are not those of the ledger, of a study that has results."""
    experiment = client.get_experiment_by_name(experiment_name(ledger.spec.name))
    if experiment is None or not has_results(ledger):
        return
    runs = {run.data.tags.get(KEY): run for run in all_runs(client, experiment)}
    for arm, figures in arm_figures(ledger, ledger_results(ledger).facts).items():
        run = runs.get(f"arm/{arm}")
        if run is not None and (text := differing_figure(figures, run.data.metrics)):
            yield Difference(f"arm/{arm}", text)


def _has_record(client: MlflowClient, location: str, correct: str) -> bool:
    """Whether MLflow's record of a final's test images equals the ledger's."""
    with TemporaryDirectory() as folder:
        return download(client, location, TEST_CORRECT, folder).read_bytes() == correct.encode()


def _compare(ledger: LedgerReader, client: MlflowClient) -> Iterator[tuple[Run | None, Difference]]:
    """Each difference, with the run to delete if there is one."""
    experiment = client.get_experiment_by_name(experiment_name(ledger.spec.name))
    runs: dict[str, Run] = {}
    for run in all_runs(client, experiment) if experiment is not None else []:
        key = run.data.tags.get(KEY)
        if key is None or run.data.tags.get(tag("kind")) not in get_args(Kind):
            continue
        if run.data.tags.get(tag("arm")) in ledger.hidden:  # which the ledger has too
            continue
        if key in runs:
            yield run, Difference(key, "is there twice")
        else:
            runs[key] = run
    records = {r.assignment.key: r for r in ledger.records() if r.state != "infeasible"}
    for key, record in records.items():
        if key not in runs:
            yield None, Difference(key, "is missing in MLflow")
        elif text := _difference_text(record, runs[key]):
            yield runs[key], Difference(key, text)
    for key in runs.keys() - records.keys():
        yield runs[key], Difference(key, "is not in the ledger")


def _difference_text(record: Record, run: Run) -> str:
    """The first difference between a record and its run in MLflow; empty where they agree."""
    tags, metrics = run.data.tags, run.data.metrics
    state = tags.get(tag("state"))
    if state != record.state and not (record.state == "running" and state in OPEN_STATES):
        return f"is {record.state} but {state} in MLflow"
    status = STATUS.get(record.state)
    if status is not None and run.info.status != status:
        return f"is {record.state} but its run is {run.info.status} in MLflow"
    expected_tags = {"trial": str(record.assignment.number), "seed": str(record.assignment.seed)}
    for name, value in expected_tags.items():
        if tags.get(tag(name)) != value:
            return f"has {name} {value} but {tags.get(tag(name))} in MLflow"
    expected = digest(record.test_correct) if record.test_correct and record.state == "finished" else None
    if tags.get(tag("test_correct")) != expected:
        return "has a record of its test images that MLflow has not"
    for name in FINAL_METRICS:
        if metrics.get(name) != record.last.get(name) and record.state != "running":
            return f"has {name} {record.last.get(name)} but {metrics.get(name)} in MLflow"
    return ""
