"""A tracking server that goes for good stops no training; what it lacks is put there later."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from running import Left, ended, free_port, mlflow_server, run, runs, stop_group, write_space
from staging import FIXED, LONG, OFTEN, begun, by_key, last_line

pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Stage:
    """What was seen."""

    folder: Path
    left: Left
    behind: dict[str, object]
    """From `reconcile --check --json` when the server is back."""
    mended: Left
    equal: Left
    doubled: Left
    """After a run was deleted and another one doubled by hand."""
    report: Left


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("away")
    write_space(folder, LONG, FIXED, OFTEN, ("trials = 1", "trials = 2"))
    port = free_port()
    server = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with mlflow_server(folder / "server", port) as process, begun(folder, **server) as driver:
        stop_group(process)
        left = ended(driver)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    with mlflow_server(folder / "server", port):
        check = run(folder, "__main__", "reconcile", "tiny", "--check", "--json", **server)
        mended = run(folder, "__main__", "reconcile", "tiny", **server)
        equal = run(folder, "__main__", "reconcile", "tiny", "--check", **server)
        client = MlflowClient(tracking_uri=server["MLFLOW_TRACKING_URI"])
        trials = [one for one in runs(client, "tiny") if one.data.tags.get("lpstudy.kind") == "trial"]
        client.delete_run(trials[0].info.run_id)
        client.create_run(trials[1].info.experiment_id, tags=trials[1].data.tags)
        doubled = run(folder, "__main__", "reconcile", "tiny", **server)
        report = run(folder, "report", "tiny", **server)
    return Stage(folder, left, json.loads(check.out), mended, equal, doubled, report)


def test_training_goes_on_to_its_end(stage: Stage) -> None:
    assert {record.state for record in by_key(stage.folder).values()} <= {"finished", "pruned"}
    assert len(by_key(stage.folder)) == 3


def test_the_end_is_74_and_names_reconcile(stage: Stage) -> None:
    assert stage.left.code == 74, stage.left.err
    assert "warning: MLflow lags behind, training goes on: " in stage.left.err
    assert "`lpstudy reconcile tiny` brings it up to date" in last_line(stage.left)


def test_what_differs_is_found_and_mended(stage: Stage) -> None:
    assert stage.behind["runs"] == 3
    assert stage.behind["differences"]
    assert stage.mended.code == 0, stage.mended.err
    assert (stage.equal.code, stage.equal.out) == (0, "3 runs in the ledger, 0 differ in MLflow\n")


def test_lost_and_doubled_runs_are_mended_too(stage: Stage) -> None:
    assert stage.doubled.code == 0, stage.doubled.err
    assert "is missing in MLflow" in stage.doubled.out
    assert "is there twice" in stage.doubled.out
    assert "2 differ in MLflow, all written anew" in stage.doubled.out


def test_the_report_can_then_be_made(stage: Stage) -> None:
    assert stage.report.code == 0, stage.report.err
    assert (stage.folder / "reports/tiny/report.md").is_file()
