"""A tracking server that stops during a study: training continues, and `reconcile` writes what is missing."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import (
    CommandResult,
    free_port,
    mlflow_server,
    run,
    runs,
    stop_group,
    wait_for,
    wait_for_exit,
    write_study,
)
from mlflow.tracking import MlflowClient
from staging import FIXED, LONG, OFTEN, by_key, last_line, running_sweep

pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Stage:
    """The observations of the scenario."""

    folder: Path
    result: CommandResult
    behind: dict[str, object]
    """The output of `reconcile --check --json` when the server runs again."""
    reconciled: CommandResult
    equal: CommandResult
    doubled: CommandResult
    """The result after a run was deleted and another duplicated by hand."""
    report: CommandResult


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("away")
    write_study(folder, LONG, FIXED, OFTEN, ("trials = 1", "trials = 2"))
    port = free_port()
    server = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with mlflow_server(folder / "server", port) as process, running_sweep(folder, **server) as driver:
        stop_group(process)
        result = wait_for_exit(driver)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    with mlflow_server(folder / "server", port):
        check = run(folder, "__main__", "reconcile", "tiny", "--check", "--json", **server)
        reconciled = run(folder, "__main__", "reconcile", "tiny", **server)
        equal = run(folder, "__main__", "reconcile", "tiny", "--check", **server)
        client = MlflowClient(tracking_uri=server["MLFLOW_TRACKING_URI"])
        trials = [one for one in runs(client, "tiny") if one.data.tags.get("lpstudy.kind") == "trial"]
        client.delete_run(trials[0].info.run_id)
        client.create_run(trials[1].info.experiment_id, tags=trials[1].data.tags)
        doubled = run(folder, "__main__", "reconcile", "tiny", **server)
        report = run(folder, "report", "tiny", **server)
    return Stage(folder, result, json.loads(check.out), reconciled, equal, doubled, report)


def test_training_continues_to_its_end(stage: Stage) -> None:
    assert {record.state for record in by_key(stage.folder).values()} <= {"finished", "pruned"}
    assert len(by_key(stage.folder)) == 3


def test_the_end_is_74_and_names_reconcile(stage: Stage) -> None:
    assert stage.result.code == 74, stage.result.err
    assert "warning: MLflow lags behind, training continues:  " in stage.result.err
    assert "`lpstudy reconcile tiny` brings it up to date" in last_line(stage.result)


def test_what_differs_is_found_and_repaired(stage: Stage) -> None:
    assert stage.behind["runs"] == 3
    assert stage.behind["differences"]
    assert stage.reconciled.code == 0, stage.reconciled.err
    assert (stage.equal.code, stage.equal.out) == (0, "3 runs in the ledger, 0 differ in MLflow\n")


def test_lost_and_doubled_runs_are_repaired_too(stage: Stage) -> None:
    assert stage.doubled.code == 0, stage.doubled.err
    assert "is missing in MLflow" in stage.doubled.out
    assert "is there twice" in stage.doubled.out
    assert "2 differ in MLflow, all rewritten" in stage.doubled.out


def test_the_report_can_then_be_made(stage: Stage) -> None:
    assert stage.report.code == 0, stage.report.err
    assert (stage.folder / "reports/tiny/report.md").is_file()


def test_a_server_that_is_away_for_a_while_is_caught_up_with(tmp_path: Path) -> None:
    write_study(tmp_path, ("epochs = 2\n", "epochs = 1500\n"), FIXED, OFTEN, ("trials = 1", "trials = 3"))
    port = free_port()
    variables = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}

    def now() -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(run(tmp_path, "status", "tiny", "--json").out)
        return answer

    with (
        mlflow_server(tmp_path / "server", port) as process,
        running_sweep(tmp_path, "--concurrent", "1", **variables) as driver,
    ):
        stop_group(process)
        behind = wait_for(lambda: (answer := now())["mlflow_error"] and answer["done"] and answer)
        output = run(tmp_path, "status", "tiny").out
        with mlflow_server(tmp_path / "server", port):
            caught_up = wait_for(lambda: not (answer := now())["mlflow_error"] and answer)
            result = wait_for_exit(driver)
            check = run(tmp_path, "reconcile", "tiny", "--check", **variables)
            client = MlflowClient(tracking_uri=variables["MLFLOW_TRACKING_URI"])
            mlflow_runs = {one.data.tags["lpstudy.key"]: one for one in runs(client, "tiny")}
            curves = {
                key: [(p.step, p.value) for p in client.get_metric_history(one.info.run_id, "train_loss")]
                for key, one in mlflow_runs.items()
            }
    assert behind["mlflow_behind"] >= 1
    assert " runs behind (" in output
    assert behind["runs_per_hour"] > 0
    assert behind["eta_seconds"] > 0
    assert (behind["workers"], behind["nodes"]) == (1, 1)
    assert "; 1 worker on 1 node; " in output
    assert 0 < behind["free_bytes"] <= shutil.disk_usage(tmp_path).total
    assert " free" in output
    assert " runs an hour, ETA " in output
    assert (caught_up["state"], caught_up["alive"]) == ("running", True), "the study was over too early"
    assert result.code == 0, result.err
    assert result.err.count("MLflow lags behind") == 1
    assert (check.code, check.out) == (0, "4 runs in the ledger, 0 differ in MLflow\n")
    ledger = by_key(tmp_path)
    for key, record in ledger.items():
        losses = [(epoch.epoch, epoch.metrics["train_loss"]) for epoch in record.epochs]
        assert curves[key] == losses
    start_times = {key: mlflow_runs[key].info.start_time for key in ledger}
    assert list(start_times) == sorted(start_times, key=lambda key: start_times[key]), (
        "not in the order of the ledger"
    )
