"""The folders of MLflow's files, with names that have a meaning in URLs."""

import os
from pathlib import Path

import pytest

from lpstudy import tracking
from lpstudy.tracking.client import open_experiment


@pytest.mark.parametrize("name", ["plain", "a?b#c%2Fd ;ä{x}"])
def test_database_and_files_are_in_the_working_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    # MLflow keeps one store for each URI: another relative one than other tests have.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{len(name)}.db")
    client = tracking.connect()
    experiment = open_experiment(client, "tiny", "0123abcd")
    run = client.create_run(experiment.experiment_id).info.run_id
    client.log_text(run, "here", "a.txt")
    assert sorted(os.listdir(tmp_path)) == [name]
    assert sorted(os.listdir(folder)) == [f"{len(name)}.db", "mlruns"]
    assert (folder / f"mlruns/0123abcd/{run}/artifacts/a.txt").read_text() == "here"
    assert [file.path for file in client.list_artifacts(run)] == ["a.txt"]


def test_files_lie_beside_a_database_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/far/m.db")
    client = tracking.connect()
    location = open_experiment(client, "tiny", "0123abcd").artifact_location
    assert location == str(tmp_path / "far/mlruns/0123abcd")
    assert os.listdir(tmp_path / "here") == []


def test_a_database_that_mlflow_would_look_for_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a?b").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/a%3Fb/m.db")
    with pytest.raises(ValueError, match=r"MLFLOW_TRACKING_URI=.*%3Fb/m.db: MLflow does not decode the %"):
        tracking.connect()
    assert os.listdir(tmp_path) == ["a?b"]
