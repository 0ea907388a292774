"""What MLflow gives back was written by anybody: it is read as JSON of known keys, or refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
from malice import FORMS
from mlflow.tracking import MlflowClient
from running import call, files, one_line

from lpstudy import report

SPEC = {
    "name": "held",
    "data": {"kind": "digits"},
    "teacher": {"family": "convnet", "depth": 2, "width": 4},
    "students": [{"family": "convnet", "depth": 2, "width": 4}],
    "methods": {"bp": {}},
}
TOLD = {
    "spec": SPEC,
    "data": {"name": "digits", "classes": 10, "train": 9, "validation": 5, "test": 5},
    "teacher": {
        "label": "convnet", "sha256": "0" * 64, "test_accuracy": 90.0, "parameters": 1000, "macs": 5000,
        "training_macs": 1e6, "seed": 0,
    },
    "provenance": {"commit": "c1"},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    """A working directory with the database."""
    made = tmp_path / "work"
    made.mkdir()
    shutil.copy(empty_store, made)
    return made


def logged(folder: Path, content: bytes, *, name: str = "held", **trial: str) -> MlflowClient:
    """A study of which MLflow has `study.json`, and a trial with some tags."""
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment(
        f"lpstudy/{name}", artifact_location=(folder / "artifacts").as_uri()
    )
    run = client.create_run(experiment, tags={"lpstudy.key": "report", "lpstudy.kind": "report"})
    path = folder / "study.json"
    path.write_bytes(content)
    client.log_artifact(run.info.run_id, str(path))
    path.unlink()
    if trial:
        client.create_run(experiment, tags={"lpstudy.key": "x", "lpstudy.kind": "trial", **trial})
    return client


def refused(folder: Path, name: str = "held") -> str:
    before = files(folder)
    left = call(report.main, folder, name)
    assert left.code == 2, left
    line = one_line(left)
    assert line.rstrip("\n").isprintable()
    assert [path for path in files(folder) if path not in before] == []
    return line


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_in_place_of_the_study_is_refused(form: str, folder: Path, marker: Path) -> None:
    logged(folder, FORMS[form](marker))
    assert "study.json: " in refused(folder)


BAD = {
    "nothing": b"",
    "no text": b"\xff\xfe",
    "nested without end": b"[" * 200_000,
    "a list": b"[]",
    "no spec": json.dumps({**TOLD, "spec": 3}).encode(),
    "no teacher": json.dumps({**TOLD, "teacher": {}}).encode(),
    "words for numbers": json.dumps({**TOLD, "data": {**TOLD["data"], "train": "many"}}).encode(),
    "a spec of another format": json.dumps({**TOLD, "spec": {**SPEC, "python": "os.system"}}).encode(),
    "a name with a path": json.dumps({**TOLD, "spec": {**SPEC, "name": "../up"}}).encode(),
    "a key that acts on the terminal": json.dumps({**TOLD, "spec": {**SPEC, "\x1b[2J": 1}}).encode(),
    "too large": b" " * (5 << 20),
}


@pytest.mark.parametrize("case", BAD)
def test_a_study_that_says_other_things_is_refused(case: str, folder: Path) -> None:
    logged(folder, BAD[case])
    assert "study.json: " in refused(folder)


@pytest.mark.parametrize(
    "tags",
    [
        {"lpstudy.arm": "../../bp"},
        {"lpstudy.arm": "bp-convnet-d2-w4", "lpstudy.trial": "one"},
        {"lpstudy.arm": "bp-convnet-d2-w4", "lpstudy.trial": "1"},
    ],
)
def test_a_run_that_lpstudy_did_not_write_is_named(tags: dict[str, str], folder: Path) -> None:
    logged(folder, json.dumps(TOLD).encode(), **tags)
    assert "MLflow's run" in refused(folder)


@pytest.mark.parametrize("name", ["../up", "/up", "a/b", "..", "a\nb", "a\x1b[2Jb", "a\\b"])
def test_a_studys_name_in_mlflow_leads_to_no_other_folder(name: str, folder: Path) -> None:
    logged(folder, json.dumps(TOLD).encode(), name=name)
    refused(folder, name)
    assert not (folder.parent / "up").exists()


def test_a_study_that_lpstudy_wrote_is_reported(folder: Path) -> None:
    logged(folder, json.dumps(TOLD).encode())
    assert call(report.main, folder, "held").code == 0
    assert "reports/held/report.md" in files(folder)


def test_warnings_that_were_cut_to_the_longest_tag_are_shown_as_they_are(folder: Path) -> None:
    tags = {
        "lpstudy.arm": "bp-convnet-d2-w4",
        "lpstudy.trial": "0",
        "lpstudy.seed": "0",
        "lpstudy.state": "failed",
    }
    client = logged(folder, json.dumps(TOLD).encode(), **tags)
    experiment = client.get_experiment_by_name("lpstudy/held")
    (run,) = client.search_runs([experiment.experiment_id], filter_string="tags.`lpstudy.kind` = 'trial'")
    client.log_param(run.info.run_id, "learning_rate", "0.1")
    client.set_tag(run.info.run_id, "lpstudy.warnings", json.dumps(["a warning " * 500])[:4000])
    left = call(report.main, folder, "held")
    assert left.code == 0, left
    assert "a warning a warning" in (folder / "reports/held/trials.csv").read_text()
