"""Means, intervals and differences of arms in MLflow: those of the report, as finals end and repaired."""

import math
from pathlib import Path

import pandas as pd
import pytest
from commands import runs, wait_for
from mlflow.entities import Metric, Run
from mlflow.tracking import MlflowClient
from projecting import PROVENANCE, SHAPE, TEACHER, new_ledger, play, project, projection

from lpstudy import tracking
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Ledger, dump
from lpstudy.space import StudySpec
from lpstudy.tables import comparison
from lpstudy.tracking import projection as thread

DATA = {"name": "digits", "classes": 10, "input_shape": SHAPE, "train": 9, "validation": 5, "test": 5}
BP, LP = "arm/bp-convnet-d2-w4", "arm/lp-convnet-d2-w4"


@pytest.fixture
def spec(spec: StudySpec) -> StudySpec:
    """The study with one size of students, so that its arms are compared."""
    student = spec.students[0].model_copy(update={"depth": 2})
    return spec.model_copy(update={"students": (student,)})


def arms(client: MlflowClient) -> dict[str, Run]:
    every = runs(client, "held")
    return {run.data.tags["lpstudy.key"]: run for run in every if run.data.tags["lpstudy.kind"] == "arm"}


def report_rows(client: MlflowClient) -> pd.DataFrame:
    read = tracking.read_study(client, "held").results
    return comparison(read.facts, read.runs).set_index("method")


def folder(path: Path) -> LocalFolder:
    return LocalFolder(path / "held/runs")


def facts_of(ledger: Ledger) -> tracking.StudyMetadata:
    return tracking.StudyMetadata(dump(ledger.spec), DATA, TEACHER, PROVENANCE)


def test_every_figure_of_an_arm_is_that_of_the_report(
    client: MlflowClient, ledger: Ledger, tmp_path: Path
) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    rows, found = report_rows(client), arms(client)
    columns = {
        "test_accuracy_mean": "accuracy_mean",
        "test_accuracy_low": "accuracy_low",
        "test_accuracy_high": "accuracy_high",
        "difference_to_bp": "delta_bp_mean",
        "difference_to_bp_low": "delta_bp_low",
        "difference_to_bp_high": "delta_bp_high",
        "difference_to_bp_p_holm": "delta_bp_p_holm",
        "difference_to_bp_detectable": "delta_bp_detectable",
        "difference_to_bp_outperforms": "delta_bp_outperforms",
        "seeds": "seeds",
        "trials_finished": "trials_finished",
        "trials_failed": "trials_failed",
    }
    for method, run in (("bp", found[BP]), ("lp", found[LP])):
        for metric, column in columns.items():
            expected = rows.loc[method, column]
            if pd.isna(expected):
                assert metric not in run.data.metrics
            else:
                assert run.data.metrics[metric] == expected, metric
    assert found[LP].data.metrics["difference_to_bp"] == 0.0
    assert found[LP].data.metrics["difference_to_bp_p_holm"] == 1.0
    assert "difference_to_bp" not in found[BP].data.metrics


def test_they_are_written_as_finals_end(
    client: MlflowClient, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "BATCH_SECONDS", 0.05)
    monkeypatch.setattr(thread, "REST", 0)
    following = projection(client, ledger, tmp_path)
    following.start()
    seen: list[float] = []

    def changed(assignment: Assignment) -> None:
        following.note_change(assignment)
        if assignment.kind == "final" and not ledger.is_running(assignment) and not seen:
            seen.append(wait_for(lambda: arms(client).get(BP) and arms(client)[BP].data.metrics.get("seeds")))

    play(ledger, changed)
    following.close(seconds=120)
    assert seen == [1.0]
    assert arms(client)[BP].data.metrics["seeds"] == 2.0
    steps = [point.step for point in client.get_metric_history(arms(client)[BP].info.run_id, "seeds")]
    assert steps == sorted({*steps})
    assert tracking.compare(_with_facts(ledger), client, folder(tmp_path)) == []


def _with_facts(ledger: Ledger) -> Ledger:
    """The ledger with the facts that a sweep stores."""
    ledger.set_fact("data", DATA)
    ledger.set_fact("teacher", TEACHER)
    ledger.set_fact("provenance", PROVENANCE)
    return ledger


def test_figures_of_an_earlier_version_are_found_and_rewritten(
    client: MlflowClient, ledger: Ledger, spec: StudySpec, tmp_path: Path
) -> None:
    play(_with_facts(ledger))
    project(client, ledger, tmp_path)
    before = {key: run.data.metrics for key, run in arms(client).items()}
    run = arms(client)[LP].info.run_id
    last = client.get_metric_history(run, "test_accuracy_low")[-1]
    client.log_batch(run, [Metric("test_accuracy_low", last.value + 1, last.timestamp, last.step)])
    other = arms(client)[BP].info.run_id
    client.log_batch(other, [Metric("trials_failed", 7.0, last.timestamp, last.step + 1000)])
    differ = tracking.compare(ledger, client, folder(tmp_path))
    assert sorted(one.key for one in differ) == [BP, LP]
    assert f"has test_accuracy_low {last.value} but {last.value + 1} in MLflow" in {
        one.what for one in differ
    }
    reopened = new_ledger(tmp_path / "held", spec)
    assert tracking.repair(reopened, client, facts_of(ledger), folder(tmp_path), seconds=120) is None
    assert tracking.compare(reopened, client, folder(tmp_path)) == []
    assert {key: run.data.metrics for key, run in arms(client).items()} == before
    assert all(math.isfinite(value) for metrics in before.values() for value in metrics.values())
