"""The metrics, names, parameters, data and descriptions by which MLflow compares methods."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import runs
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from projecting import CLASSES, SHAPE, SPACE, TEACHER, new_ledger, play, project

from lpstudy import tracking
from lpstudy.cost import cost_of
from lpstudy.ledger import Ledger
from lpstudy.space import parse
from lpstudy.students import StudentSpec
from lpstudy.tables import comparison

Study = tuple[MlflowClient, Ledger, dict[str, Run]]


@pytest.fixture(scope="module")
def projected(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Study:
    folder = tmp_path_factory.mktemp("comparing")
    shutil.copy(empty_store, folder)
    ledger = new_ledger(folder / "held", parse(SPACE, "here"))
    play(ledger)
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    project(client, ledger, folder)
    return client, ledger, {run.data.tags["lpstudy.key"]: run for run in runs(client, "held")}


def test_an_arms_run_has_the_figures_of_the_reports_table(projected: Study) -> None:
    client, _, mlflow_runs = projected
    read = tracking.read_study(client, "held").results
    table = comparison(read.facts, read.runs).set_index("method")
    for method in ("bp", "lp"):
        metrics, row = mlflow_runs[f"arm/{method}-convnet"].data.metrics, table.loc[method]
        names = {
            "test_accuracy_mean": "accuracy_mean", "test_accuracy_low": "accuracy_low",
            "test_accuracy_high": "accuracy_high", "seeds": "seeds", "parameters": "parameters",
            "macs": "macs", "flops": "flops",
        }  # fmt: skip
        for metric, column in names.items():
            assert metrics[metric] == pytest.approx(row[column]), metric
        assert metrics["flops"] == 2 * metrics["macs"] > 0
    assert "difference_to_bp" not in mlflow_runs["arm/bp-convnet"].data.metrics
    difference = mlflow_runs["arm/lp-convnet"].data.metrics.get("difference_to_bp", np.nan)
    assert difference == pytest.approx(table.loc["lp", "delta_bp_mean"], nan_ok=True)


def test_runs_are_named_by_arm_and_what_they_are(projected: Study) -> None:
    _, ledger, mlflow_runs = projected
    for record in ledger.records():
        run = record.assignment
        student = ledger.arms[run.arm].student_spec(run.values).label()
        which = f"trial {run.number}" if run.kind == "trial" else f"seed {run.seed}"
        assert mlflow_runs[run.key].info.run_name == f"{run.arm.split('-')[0]} {student} {which}"
    assert len({run.info.run_name for run in mlflow_runs.values()}) == len(mlflow_runs)


def test_method_student_and_size_are_parameters(projected: Study) -> None:
    _, ledger, mlflow_runs = projected
    for record in ledger.records():
        run, params = record.assignment, mlflow_runs[record.assignment.key].data.params
        spec = ledger.arms[run.arm].student_spec(run.values)
        assert (params["method"], params["student"]) == (run.arm.split("-")[0], spec.label())
        sizes = (params["family"], params["depth"], params["width"])
        assert sizes == ("convnet", str(run.values["depth"]), "4")
    arm = mlflow_runs["arm/lp-convnet"].data.params
    assert (arm["method"], arm["student"], arm["width"], arm["ramp"]) == ("lp", "convnet", "4", "0.5")


def test_the_teacher_has_a_run(projected: Study) -> None:
    _, _, mlflow_runs = projected
    run = mlflow_runs["teacher"]
    assert run.info.run_name == "teacher convnet-d3-w8"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == TEACHER["test_accuracy"]
    assert run.data.metrics["flops"] == 2 * run.data.metrics["macs"] == 2 * TEACHER["macs"]
    assert (run.data.params["family"], run.data.params["depth"]) == ("convnet", "3")
    assert run.data.tags["lpstudy.weights"] == "teachers/t1/weights.safetensors in LPSTUDY_CACHE"


def test_the_data_set_is_an_input(projected: Study) -> None:
    _, ledger, mlflow_runs = projected
    keys = [key for key in mlflow_runs if key.startswith(("arm/", "teacher")) or "/final-" in key]
    finals = [record for record in ledger.records() if record.assignment.kind == "final"]
    assert len(finals) >= 2 * 2
    assert len(keys) == 2 + 1 + len(finals)
    for key in keys:
        (dataset_input,) = mlflow_runs[key].inputs.dataset_inputs
        assert (dataset_input.dataset.name, dataset_input.dataset.digest) == ("digits", "d1")
        assert json.loads(dataset_input.dataset.profile) == {
            "classes": 10,
            "train": 9,
            "validation": 5,
            "test": 5,
        }
        assert [tag.key for tag in dataset_input.tags] == ["mlflow.data.context"]


def test_the_experiment_and_every_run_say_what_they_are(projected: Study) -> None:
    client, _, mlflow_runs = projected
    note = client.get_experiment_by_name("lpstudy/held").tags["mlflow.note.content"]
    assert "To compare methods" in note
    assert "lpstudy.kind" in note
    assert all(len(run.data.tags["mlflow.note.content"]) > 20 for run in mlflow_runs.values())


def test_parameters_and_macs_are_of_the_winners_student(projected: Study) -> None:
    _, ledger, mlflow_runs = projected
    winner = ledger.winner("bp-convnet")
    assert winner is not None
    spec = StudentSpec(family="convnet", depth=winner.params["depth"], width=4)
    cost = cost_of(spec, input_shape=SHAPE, classes=CLASSES)
    metrics = mlflow_runs["arm/bp-convnet"].data.metrics
    assert (metrics["parameters"], metrics["macs"]) == (cost.parameters, cost.macs)
