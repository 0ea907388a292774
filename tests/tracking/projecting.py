"""A study with invented results, and its content in MLflow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from commands import runs
from mlflow.tracking import MlflowClient

from lpstudy import tracking
from lpstudy.correctness import pack
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Done, Ledger, Waiting, dump, ledger_file_url
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec

SHAPE, CLASSES, EPOCHS = (1, 8, 8), 10, 3
SPACE = {
    "name": "held",
    "data": {"kind": "digits"},
    "teacher": {"family": "convnet", "depth": 3, "width": 8},
    "students": [{"family": "convnet", "depth": {"low": 2, "high": 3}, "width": 4}],
    "methods": {
        "bp": {},
        "lp": {"n_neighbors": {"choices": [1, 3]}, "normalize": {"choices": [True, False]}, "ramp": 0.5},
    },
    "training": {"optimizer": {"choices": ["adam", "sgd"]}, "learning_rate": {"low": 1e-3, "high": 0.1}},
    "budget": {"trials": 3, "epochs": EPOCHS, "seeds": 2},
    "finals": {"candidates": 1, "front": 1},
}
PROVENANCE = {
    "data hash": "d1",
    "teacher hash": "t1",
    "versions": "lpstudy 0",
    "commit": "c1",
    "machine": "m",
    "command": "python -m lpstudy.sweep held",
}
TEACHER = {
    "key": "t1",
    "sha256": "0" * 64,
    "label": "convnet-d3-w8",
    "validation_accuracy": 91.0,
    "test_accuracy": 90.0,
    "parameters": 1000,
    "macs": 5000,
    "training_macs": 1e6,
    "seed": 0,
}


def new_ledger(folder: Path, spec: StudySpec) -> Ledger:
    folder.mkdir(exist_ok=True)
    ledger = Ledger(ledger_file_url(folder), spec, input_shape=SHAPE, classes=CLASSES)
    ledger.check_unchanged("images")
    return ledger


def projection(client: MlflowClient, ledger: Ledger, folder: Path) -> tracking.Projection:
    data = {"name": "digits", "classes": 10, "input_shape": SHAPE, "train": 9, "validation": 5, "test": 5}
    more = {"growth": ledger.growth, "hidden": ledger.hidden}
    facts = tracking.StudyMetadata(dump(ledger.spec), data, TEACHER, PROVENANCE, **more)
    return tracking.Projection(client, ledger, facts, LocalFolder(folder / "held/runs"))


def project(client: MlflowClient, ledger: Ledger, folder: Path) -> None:
    """Write the ledger to MLflow once, as a new process does."""
    thread = projection(client, ledger, folder)
    thread.start()
    thread.close(seconds=120)
    assert thread.error is None


def play(ledger: Ledger, changed: Callable[[Assignment], None] = lambda assignment: None) -> None:
    """Run all assignments; the first trial of each arm fails."""
    while not isinstance(assignment := ledger.next(), Waiting | Done):
        for epoch in range(1, EPOCHS + 1):
            metrics = {"validation_accuracy": 50.0 + assignment.number + epoch / 7, "train_loss": 1 / epoch}
            correct = ""
            if assignment.kind == "final" and epoch == EPOCHS:
                metrics["test_accuracy"], correct = 100 * (3 + assignment.seed) / 5, record_of(assignment)
            warnings = ("k is large",) if epoch == 1 else ()
            ledger.report(assignment, [EpochResult(epoch, metrics, warnings, correct)])
            changed(assignment)
        has_failed = assignment.kind == "trial" and assignment.number == 0
        ledger.finish(assignment, "failed" if has_failed else "finished", None)
        changed(assignment)


def record_of(final: Assignment) -> str:
    """The record of five test images, of which four are correct with seed 1 and five with seed 2."""
    return pack(np.arange(5) < 3 + final.seed)


def content(client: MlflowClient) -> dict[str, object]:
    """The status, tags, parameters and metric points of each of the study's runs in MLflow."""
    runs_by_id = {}
    for run in runs(client, "held"):
        points = {
            name: [(p.step, p.timestamp, p.value) for p in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        runs_by_id[run.info.run_id] = (run.info.status, run.data.tags, run.data.params, points)
    return runs_by_id
