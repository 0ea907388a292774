"""Whether MLflow has what the ledger has, and how it comes to that."""

from collections.abc import Iterator
from dataclasses import dataclass

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from lpstudy.folder import Folder
from lpstudy.ledger import Book, Record
from lpstudy.tracking.client import KEY, Facts, all_runs, experiment_name, open_experiment, tag
from lpstudy.tracking.projection import STATUS, Projection, digest

FINAL_METRICS = ("validation_accuracy", "test_accuracy")
OPEN = ("running", "paused")


@dataclass(frozen=True, slots=True)
class Difference:
    """A run of which ledger and MLflow do not say the same."""

    key: str
    what: str


def compare(book: Book, client: MlflowClient) -> list[Difference]:
    """All differences: of runs, their trials, seeds, states and final metrics."""
    return [difference for _, difference in _compare(book, client)]


def repair(book: Book, client: MlflowClient, facts: Facts, runs: Folder, *, seconds: float) -> str | None:
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
    projection = Projection(client, book, facts, runs)
    projection.start()
    projection.close(seconds=seconds)
    return projection.error


def _compare(book: Book, client: MlflowClient) -> Iterator[tuple[Run | None, Difference]]:
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
