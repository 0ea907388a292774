"""Fixtures of the tests of MLflow: a study, its ledger, and a client with a new database."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from projecting import SPACE, new_ledger

from lpstudy import tracking
from lpstudy.ledger import Ledger
from lpstudy.space import StudySpec, parse


@pytest.fixture
def spec() -> StudySpec:
    return parse(SPACE, "here")


@pytest.fixture
def ledger(tmp_path: Path, spec: StudySpec) -> Ledger:
    return new_ledger(tmp_path / "held", spec)


@pytest.fixture
def client(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    shutil.copy(empty_store, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tracking.connect()
