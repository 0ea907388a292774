"""Whether MLflow has what the ledger has, and how it comes to that."""

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from lpstudy.folder import Folder
from lpstudy.ledger import LedgerReader, Record
from lpstudy.tracking.artifact_files import fetch, put_text
from lpstudy.tracking.artifact_location import files_of, missing_files, upload
from lpstudy.tracking.client import (
    KEY,
    StudyMetadata,
    all_runs,
    experiment_name,
    find_runs,
    open_experiment,
    tag,
)
from lpstudy.tracking.projection import Projection
from lpstudy.tracking.run_writer import STATUS, TEST_CORRECT, digest

FINAL_METRICS = ("validation_accuracy", "test_accuracy")
STUDY_FILE = "study.json"
OPEN = ("running", "paused")


@dataclass(frozen=True, slots=True)
class Difference:
    """A run of which ledger and MLflow do not say the same."""

    key: str
    what: str


def compare(book: LedgerReader, client: MlflowClient, runs: Folder) -> list[Difference]:
    """All differences: of runs, their trials, seeds, states, final metrics and files.

    Args:
        book: The truth.
        client: Connected.
        runs: Folder of the runs' weights; what it does not have is not missed in MLflow.
    """
    found = [difference for _, difference in _compare(book, client)]
    return found + [Difference(one.key, one.what) for one in _lacking(book, client, runs)]


def repair(
    book: LedgerReader, client: MlflowClient, facts: StudyMetadata, runs: Folder, *, seconds: float
) -> str | None:
    """Write anew what differs; runs that the ledger does not have are deleted.

    Nobody else may be writing the study. Returns why MLflow did not take it, or None.

    Args:
        book: The truth.
        client: Connected.
        facts: Of the study.
        runs: Folder of the runs' weights.
        seconds: How long it may take.
    """
    open_experiment(client, book.spec.name, book.facts["id"])
    for run, _ in _compare(book, client):
        if run is not None:
            client.delete_run(run.info.run_id)
    for lacking in _lacking(book, client, runs):
        texts = {STUDY_FILE: facts.as_text(), TEST_CORRECT: lacking.test_correct}
        for name in texts.keys() & {*lacking.names}:
            put_text(client, lacking.location, texts[name], name)
        upload(client, lacking.location, runs / lacking.key, [n for n in lacking.names if n not in texts])
    projection = Projection(client, book, facts, runs)
    projection.start()
    projection.close(seconds=seconds)
    return projection.error


@dataclass(frozen=True, slots=True)
class _Lacking:
    """Files that a run has in the storage and not in MLflow."""

    key: str
    location: str
    names: list[str]
    test_correct: str = ""

    @property
    def what(self) -> str:
        """For a `Difference`."""
        return f"has no {', '.join(self.names)} in MLflow, or another one"


def _lacking(book: LedgerReader, client: MlflowClient, runs: Folder) -> Iterator[_Lacking]:
    """Of each final that both have, and of the study's own run."""
    experiment = client.get_experiment_by_name(experiment_name(book.spec.name))
    if experiment is None:
        return
    known = find_runs(client, experiment)
    if "report" in known and (lacks := missing_files(client, known["report"].run_id, [STUDY_FILE])):
        yield _Lacking("report", known["report"].location, lacks)
    for record in book.records():
        key, correct = record.assignment.key, record.test_correct
        if record.assignment.kind != "final" or record.state != "finished" or key not in known:
            continue
        wanted = files_of(runs / key) + ([TEST_CORRECT] if correct else [])
        lacks = missing_files(client, known[key].run_id, wanted)
        if correct and TEST_CORRECT not in lacks and not _has_record(client, known[key].location, correct):
            lacks = [*lacks, TEST_CORRECT]
        if lacks:
            yield _Lacking(key, known[key].location, lacks, correct or "")


def _has_record(client: MlflowClient, location: str, correct: str) -> bool:
    """Whether MLflow's file says of each test image what the ledger says."""
    with TemporaryDirectory() as folder:
        return fetch(client, location, TEST_CORRECT, folder).read_bytes() == correct.encode()


def _compare(book: LedgerReader, client: MlflowClient) -> Iterator[tuple[Run | None, Difference]]:
    """Each difference with the run that is to go, where there is one."""
    experiment = client.get_experiment_by_name(experiment_name(book.spec.name))
    found: dict[str, Run] = {}
    for run in all_runs(client, experiment) if experiment is not None else []:
        key = run.data.tags.get(KEY)
        if key is None or run.data.tags.get(tag("kind")) not in ("trial", "final"):
            continue
        if key in found:
            yield run, Difference(key, "is there twice")
        else:
            found[key] = run
    records = {r.assignment.key: r for r in book.records() if r.state != "infeasible"}
    for key, record in records.items():
        if key not in found:
            yield None, Difference(key, "is missing in MLflow")
        elif differs := _differs(record, found[key]):
            yield found[key], Difference(key, differs)
    for key in found.keys() - records.keys():
        yield found[key], Difference(key, "is not in the ledger")


def _differs(record: Record, run: Run) -> str:
    """What MLflow has otherwise; empty where nothing."""
    tags, metrics = run.data.tags, run.data.metrics
    state = tags.get(tag("state"))
    if state != record.state and not (record.state == "running" and state in OPEN):
        return f"is {record.state} but {state} in MLflow"
    status = STATUS.get(record.state)
    if status is not None and run.info.status != status:
        return f"is {record.state} but its run is {run.info.status} in MLflow"
    wanted = {"trial": str(record.assignment.number), "seed": str(record.assignment.seed)}
    for name, value in wanted.items():
        if tags.get(tag(name)) != value:
            return f"has {name} {value} but {tags.get(tag(name))} in MLflow"
    expected = digest(record.test_correct) if record.test_correct and record.state == "finished" else None
    if tags.get(tag("test_correct")) != expected:
        return "has a record of its test images that MLflow has not"
    for name in FINAL_METRICS:
        if metrics.get(name) != record.last.get(name) and record.state != "running":
            return f"has {name} {record.last.get(name)} but {metrics.get(name)} in MLflow"
    return ""
