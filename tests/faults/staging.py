"""Helpers for tests that disturb running studies."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pandas as pd
from commands import (
    CommandResult,
    call,
    client_of,
    records,
    runs,
    start,
    suspend,
    trial_processes,
    wait_for,
    wait_for_exit,
)

from lpstudy import export
from lpstudy.ledger import Record
from lpstudy.spending import MEASURED

EPOCHS = 400
"""Epochs of a tiny trial of some seconds."""
LONG = ("epochs = 2\n", f"epochs = {EPOCHS}\n")
FIXED = (
    "learning_rate = { low = 1e-3, high = 1e-1, log = true }",
    "learning_rate = { low = 0.0099, high = 0.0101 }",
)
"""A learning rate in so small a range that trials are comparable, but not equal."""
TIMES = ["started", "ended", "attempt", *MEASURED]
"""Columns of an export that a fault may change."""
OFTEN = ("checkpoint_seconds = 0.0", "checkpoint_seconds = 0.2")


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of all runs, from the tenth epoch on or within an epoch."""
    paths = sorted((folder / "studies/tiny/runs").glob("*/*/checkpoint-*.json"))
    return [path for path in paths if len(path.stem.partition("-")[2].lstrip("0")) > 1]


@contextmanager
def suspended_trials(process: "Popen[str]") -> Iterator[None]:
    """Suspend the processes of a sweep's trials within the context."""
    with suspend(trial_processes(process.pid)):
        yield


def by_key(folder: Path) -> dict[str, Record]:
    """The ledger's runs by their key, which must be unique."""
    ledger_records = records(folder, "tiny")
    keys = [record.assignment.key for record in ledger_records]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, ledger_records, strict=True))


def newest_epochs(folder: Path) -> Mapping[str, int]:
    """The newest epoch of each run in the ledger."""
    return {key: len(record.epochs) for key, record in by_key(folder).items()}


def check_study(folder: Path, expected: int) -> None:
    """Check that every run has ended with each epoch once, and that MLflow has the same ended runs."""
    ledger_runs = by_key(folder)
    assert len(ledger_runs) == expected
    for record in ledger_runs.values():
        assert record.state in ("finished", "pruned")
        assert [epoch.epoch for epoch in record.epochs] == list(range(1, len(record.epochs) + 1))
    mlflow_keys = [run.data.tags["lpstudy.key"] for run in runs(client_of(folder), "tiny")]
    assert len(mlflow_keys) == len(set(mlflow_keys))
    assert {key for key in mlflow_keys if "/" in key and not key.startswith("arm/")} == {
        record.assignment.key for record in ledger_runs.values()
    }
    assert "RUNNING" not in {run.info.status for run in runs(client_of(folder), "tiny")}


@contextmanager
def running_sweep(folder: Path, *words: str, **variables: str) -> Iterator["Popen[str]"]:
    """Start a sweep of `tiny.toml`, and wait for checkpoints of its trials."""
    process = start(folder, "sweep", "tiny.toml", *words, **variables)
    try:
        wait_for(lambda: process.poll() is not None or checkpoints(folder), seconds=280)
        if process.poll() is not None:
            raise AssertionError(wait_for_exit(process))
        yield process
    finally:
        process.kill()


def last_line(result: CommandResult) -> str:
    """The last line of a command's standard error."""
    assert "Traceback" not in result.err, result.err
    return result.err.rstrip().splitlines()[-1]


def exported_frames(folder: Path) -> dict[str, pd.DataFrame]:
    """The exported runs and epochs of a study, without times and attempts."""
    result = call(export.main, folder, "tiny", "--to", str(folder / "export"))
    assert result.code == 0, result.err
    frames = {kind: pd.read_parquet(folder / f"export/{kind}.parquet") for kind in ("runs", "epochs")}
    return {kind: frame.drop(columns=TIMES, errors="ignore") for kind, frame in frames.items()}


MEASURED = ("## What it cost", "## A training step")
"""Heads of sections that tell what a machine has measured."""


def report_text(folder: Path) -> str:
    """The text of the report, without links to MLflow, provenance, and sections of measured times."""
    text = (folder / "reports/tiny/report.md").read_text().partition("## Provenance")[0]
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    text = "".join(one for one in sections if not one.startswith(MEASURED))
    return re.sub(r"\[[0-9a-f]{8}\]\([^)]*\)", "", text)


def check_equal(disturbed: Path, undisturbed: Path) -> None:
    """Check that two studies have equal exports and reports."""
    mine, other = exported_frames(disturbed), exported_frames(undisturbed)
    for kind in mine:
        pd.testing.assert_frame_equal(mine[kind], other[kind], check_exact=True)
    assert "## Comparison" in report_text(disturbed)
    assert report_text(disturbed) == report_text(undisturbed)
