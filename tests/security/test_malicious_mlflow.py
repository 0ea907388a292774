"""Data in MLflow is not trusted: it is read as JSON of known keys, or refused in one line."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import call, error_line, files
from malice import FORMS
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from lpstudy import report
from lpstudy.tracking.artifact_files import ForeignLocationError, check_location

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


ARM = "bp-convnet-d2-w4"
SEARCHED: dict[str, Any] = {
    **TOLD,
    "spec": SPEC | {"training": {"learning_rate": {"low": 0.01, "high": 1.0}}},
}


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    """A working directory with MLflow's database."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(empty_store, work)
    return work


def logged(folder: Path, content: bytes, *, name: str = "held", **trial: str) -> MlflowClient:
    """Log a study's `study.json` and a trial with some tags."""
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


def refused(folder: Path, name: str = "held", *, code: int = 1) -> str:
    before = files(folder)
    result = call(report.main, folder, name)
    assert result.code == code, result
    line = error_line(result)
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
    "MACs of 0": json.dumps({**TOLD, "teacher": {**TOLD["teacher"], "macs": 0}}).encode(),
    "an accuracy that is none": json.dumps(
        {**TOLD, "teacher": {**TOLD["teacher"], "test_accuracy": 1e308}}
    ).encode(),
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


TAGS = {"arm": ARM, "trial": "0", "seed": "0", "state": "finished", "attempt": "1"}
PARAMS = {"learning_rate": "0.1"}
METRICS = {
    "validation_accuracy": 50.0,
    "parameters": 10.0,
    "macs": 100.0,
    "training_macs": 1e6,
    "seconds": 1.0,
}
FIGURES = [1e308, math.nan, math.inf, -1.0]
WRONG: list[tuple[str, object]] = [
    ("lpstudy.arm", None), ("lpstudy.arm", "../../bp"),
    *(("lpstudy.trial", value) for value in (None, "one", "", "-1", "1.5", "9" * 9, "²", "1e3")),
    *(("lpstudy.seed", value) for value in (None, "x", "-1")),
    *(("lpstudy.attempt", value) for value in ("x", "-1")),
    *(("lpstudy.state", value) for value in (None, "", "done", "Finished")),
    *(("validation_accuracy", value) for value in (None, 100.5, *FIGURES)),
    *(("test_accuracy", value) for value in (101.0, *FIGURES)),
    *((name, value) for name in ("parameters", "macs") for value in (0.0, *FIGURES)),
    *((name, value) for name in ("training_macs", "seconds") for value in FIGURES),
    *(("params.learning_rate", value) for value in (None, "fast", "nan", "inf", "1e999", "7", "")),
    *(("trials_infeasible", value) for value in (1e9, 0.5, *FIGURES)),
    ("test_correct.txt", None),
]  # fmt: skip
"""Wrong values by key; None: the key is missing."""


def test_a_value_that_lpstudy_does_not_write_is_named(folder: Path) -> None:
    client = logged(folder, json.dumps(SEARCHED).encode())
    experiment = client.get_experiment_by_name("lpstudy/held").experiment_id
    for key, value in WRONG:
        tags = {f"lpstudy.{name}": text for name, text in TAGS.items()} | {"lpstudy.key": "the key"}
        metrics, params = dict(METRICS), dict(PARAMS)
        kind = "arm" if key == "trials_infeasible" else "trial"
        table: dict[str, Any] = params if key.startswith("params.") else metrics
        if key == "test_correct.txt":
            artifact = client.create_run(experiment).info.artifact_uri
            Path(artifact.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
            tags, kind = tags | {"lpstudy.test_correct": "0" * 64}, "final"
        elif key.startswith("lpstudy."):
            table = tags
        name = key.removeprefix("params.")
        table.pop(name, None)
        if value is not None:
            table[name] = value
        run = client.create_run(experiment, tags=tags | {"lpstudy.kind": kind}).info
        if key == "test_correct.txt":
            client.log_text(run.run_id, "3:AAAA", key)
        client.log_batch(
            run.run_id,
            [Metric(name, value, 0, 0) for name, value in metrics.items()],
            [Param(name, value) for name, value in params.items()],
        )
        line = refused(folder)
        assert f"MLflow: study 'held': run the key: {key}: " in line, (key, value, line)
        client.delete_run(run.run_id)
    assert call(report.main, folder, "held").code == 0


def test_a_run_of_which_every_value_fits_is_read(folder: Path) -> None:
    client = logged(folder, json.dumps(SEARCHED).encode())
    experiment = client.get_experiment_by_name("lpstudy/held").experiment_id
    tags = {f"lpstudy.{name}": text for name, text in TAGS.items()} | {"lpstudy.kind": "trial"}
    run = client.create_run(experiment, tags=tags | {"lpstudy.key": "x"}).info.run_id
    client.log_batch(run, [Metric(n, v, 0, 0) for n, v in METRICS.items()], [Param("learning_rate", "0.1")])
    assert call(report.main, folder, "held").code == 0


OUTSIDE = ["{out}", "file://{out}", "file:{out}", "{work}/../out", "file://{work}/%2e%2e/out", "{work}/link"]


@pytest.mark.parametrize("location", OUTSIDE)
def test_nothing_is_written_where_a_server_keeps_files_outside_of_its_store(
    location: str, folder: Path
) -> None:
    outside = folder.parent / "out"
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    named = location.format(out=outside, work=folder)
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("lpstudy/held", artifact_location=named)
    tags = {"lpstudy.key": "report", "lpstudy.kind": "report"}
    run = client.create_run(experiment, tags=tags)
    work = next(path for path in (outside, folder, folder.parent) if path.exists())
    client.log_text(run.info.run_id, json.dumps(TOLD), "study.json")
    before = files(folder.parent)
    result = call(report.main, folder, "held")
    assert result.code == 1, (result, work)
    assert "which is not in its own store" in error_line(result)
    assert [path for path in files(folder.parent) if path not in before] == []


@pytest.mark.parametrize(
    ("location", "uri", "good"),
    [
        ("mlflow-artifacts:/1/a", "http://host:5000", True),
        ("mlflow-artifacts://host:5000/1/a", "http://host:5000", True),
        ("mlflow-artifacts://other/1/a", "http://host:5000", False),
        ("http://other/api/1", "http://host:5000", False),
        ("s3://bucket/1", "http://host:5000", True),
        ("gs://bucket/1", "sqlite:////data/mlflow.db", True),
        ("file:///data/mlruns/1", "http://127.0.0.1:5000", False),
        ("/data/mlruns/1", "http://127.0.0.1:5000", False),
        ("/data/mlruns/1", "sqlite:////data/mlflow.db", True),
        ("/data2/mlruns/1", "sqlite:////data/mlflow.db", False),
        ("file:///data/1", "file:///data", True),
        ("file:///etc", "file:///data", False),
        ("runs:/1/a", "http://host:5000", False),
        ("models:/1/a", "http://host:5000", False),
        ("C:/x", "sqlite:////data/mlflow.db", False),
        ("", "http://host:5000", False),
        ("//[x", "http://host:5000", False),
    ],
)
def test_where_files_may_be(location: str, uri: str, good: bool) -> None:
    if good:
        check_location(location, uri)
    else:
        with pytest.raises(ForeignLocationError, match="not in its own store"):
            check_location(location, uri)


@pytest.mark.parametrize("name", ["../up", "/up", "a/b", "..", "a\nb", "a\x1b[2Jb", "a\\b"])
def test_a_studys_name_in_mlflow_leads_to_no_other_folder(name: str, folder: Path) -> None:
    logged(folder, json.dumps(TOLD).encode(), name=name)
    refused(folder, name, code=2)
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
    result = call(report.main, folder, "held")
    assert result.code == 0, result
    assert "a warning a warning" in (folder / "reports/held/trials.csv").read_text()
