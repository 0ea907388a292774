"""The files of runs in MLflow: checked before a study starts, and uploaded again by reconcile."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from projecting import PROVENANCE, SHAPE, TEACHER, play, project

from lpstudy import tracking
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Ledger, dump
from lpstudy.model_file import DESCRIPTION, WEIGHTS
from lpstudy.tracking.client import reason


@pytest.fixture
def run_folder(client: MlflowClient, ledger: Ledger, tmp_path: Path) -> LocalFolder:
    """The folder of runs of a finished study with weights that MLflow has."""
    play(ledger)
    folder = LocalFolder(tmp_path / "held/runs")
    for record in ledger.records():
        if record.assignment.kind == "final":
            (folder / record.assignment.key).write(WEIGHTS, record.assignment.key.encode())
            (folder / record.assignment.key).write(DESCRIPTION, b"{}")
    project(client, ledger, tmp_path)
    assert tracking.compare(ledger, client, folder) == []
    return folder


def repair(client: MlflowClient, ledger: Ledger, folder: LocalFolder) -> str | None:
    data = {"name": "digits", "classes": 10, "input_shape": SHAPE, "train": 9, "validation": 5, "test": 5}
    facts = tracking.StudyMetadata(dump(ledger.spec), data, TEACHER, PROVENANCE)
    return tracking.repair(ledger, client, facts, folder, seconds=120)


def weights(client: MlflowClient, ledger: Ledger) -> dict[str, bytes]:
    """The weights of each final in MLflow, by its key."""
    artifacts = {}
    experiment = tracking.find_experiment(client, "held")
    for run in client.search_runs([experiment.experiment_id]):
        key = run.data.tags["lpstudy.key"]
        if any(file.path == WEIGHTS for file in client.list_artifacts(run.info.run_id)):
            artifacts[key] = Path(client.download_artifacts(run.info.run_id, WEIGHTS)).read_bytes()
    return artifacts


def test_files_that_are_gone_are_counted_and_given_again(
    client: MlflowClient, ledger: Ledger, run_folder: LocalFolder, tmp_path: Path
) -> None:
    before = weights(client, ledger)
    assert {key.encode() for key in before} == {*before.values()}
    assert len(before) == 4
    shutil.rmtree(tmp_path / "mlruns")
    with pytest.raises(
        ValueError, match=r"not their file study\.json .*: lpstudy reconcile held writes it again"
    ):
        tracking.read_study(client, "held")
    lacks = {one.key: one.what for one in tracking.compare(ledger, client, run_folder)}
    assert lacks.keys() == {*before, "report"}
    assert all(WEIGHTS in what and DESCRIPTION in what for key, what in lacks.items() if key != "report")
    assert repair(client, ledger, run_folder) is None
    assert tracking.compare(ledger, client, run_folder) == []
    assert weights(client, ledger) == before
    tracking.read_study(client, "held")


def test_an_experiment_whose_folder_cannot_be_written_is_replaced(
    client: MlflowClient, ledger: Ledger, run_folder: LocalFolder, tmp_path: Path
) -> None:
    before = weights(client, ledger)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    experiment = tracking.find_experiment(client, "held")
    client.rename_experiment(experiment.experiment_id, "other")
    client.delete_experiment_tag(experiment.experiment_id, "lpstudy.id")
    old = client.create_experiment(
        "lpstudy/held", artifact_location=str(blocked / "x"), tags={"lpstudy.id": ledger.facts["id"]}
    )
    tracking.check_files(client, "held")
    assert repair(client, ledger, run_folder) is None
    assert tracking.find_experiment(client, "held").experiment_id != old
    assert weights(client, ledger) == before


def test_a_folder_that_cannot_be_written_is_named_before_the_study(
    client: MlflowClient, tmp_path: Path
) -> None:
    tracking.check_files(client, "held")
    (tmp_path / "mlruns").rmdir()
    (tmp_path / "mlruns").write_text("a file where a folder should be")
    with pytest.raises(tracking.MlflowUnavailableError, match=f"{tmp_path}/mlruns: cannot be written"):
        tracking.check_files(client, "held")


def test_a_reason_keeps_its_cause() -> None:
    long = "API request to http://host/api failed: " + "x" * 900 + " (Caused by Error('Connection refused'))"
    assert reason(OSError(long)).endswith("(Caused by Error('Connection refused'))")
    message = "(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO x " + "y" * 900
    assert reason(OSError(message + "]\n(Background on this error at: https://sqlalche.me/e/20/e3q8)")) == (
        "(sqlite3.OperationalError) database is locked"
    )
    assert len(reason(OSError("z" * 5000))) <= 405
