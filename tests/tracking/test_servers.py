"""Real MLflow servers: one that dies, and one whose store takes no files."""

import shutil
from pathlib import Path

import pytest
from commands import free_port, mlflow_server, run_keys, runs
from projecting import new_ledger, play, project, projection

from lpstudy import tracking
from lpstudy.ledger import Assignment
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec


def test_a_server_that_dies_stops_nothing_and_is_caught_up_with(
    spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    ledger = new_ledger(tmp_path / "held", spec)
    with mlflow_server(tmp_path / "server", port):
        client = tracking.connect()
        following = projection(client, ledger, tmp_path)
        following.start()
        assignment = ledger.next()
        assert isinstance(assignment, Assignment)
        ledger.report(assignment, [EpochResult(1, {"validation_accuracy": 50.0})])
        following.note_change(assignment)
    ledger.finish(assignment, "failed", "of no matter")
    play(ledger, following.note_change)  # would raise if MLflow could stop it
    following.close(seconds=3)
    assert following.error
    with mlflow_server(tmp_path / "server", port):
        project(client, ledger, tmp_path)
        mlflow_runs = runs(client, "held")
        assert len(set(run_keys(mlflow_runs))) == len(run_keys(mlflow_runs)) == 2 + 2 + 2 * (3 + 2)
        assert "RUNNING" not in {run.info.status for run in mlflow_runs}
        assert len(tracking.read_study(client, "held").results.runs) == len(ledger.records())


def test_a_server_whose_store_takes_no_files_is_named_before_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server", port):
        client = tracking.connect()
        tracking.check_files(client, "held")
        shutil.rmtree(tmp_path / "server/artifacts", ignore_errors=True)
        (tmp_path / "server/artifacts").write_text("a file where a folder should be")
        with pytest.raises(tracking.MlflowUnavailableError, match="accepts no files of runs"):
            tracking.check_files(client, "held")
