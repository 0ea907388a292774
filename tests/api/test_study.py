"""`lpstudy.Study`: the same study as the command's, as objects and data frames."""

import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import environment, write_study

import lpstudy
from lpstudy.cost import cost_of
from lpstudy.data import DataSpec, load
from lpstudy.methods.bp import BP
from lpstudy.space import read_study

DATA = {"kind": "digits", "validation_fraction": 0.25}
TABLE = {
    "name": "api",
    "data": DATA,
    "teacher": {"family": "convnet", "depth": 2, "width": 8, "epochs": 2, "batch_size": 50},
    "students": [
        {"family": "convnet", "depth": 2, "width": 2},
        {"family": "convnet", "depth": 2, "width": 4},
    ],
    "methods": {"bp": {}, "kd": {"weight": {"low": 0.1, "high": 10.0, "log": True}}},
    "training": {"batch_size": 50, "learning_rate": 0.01},
    "budget": {"trials": 2, "epochs": 2, "seeds": 3},
    "finals": {"candidates": 1},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lpstudy.Study]:
    """A finished study of two methods on two students."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield lpstudy.Study(TABLE).run()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with an MLflow of its own, which is cached by its address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def test_every_run_is_a_row_and_the_report_is_there(study: lpstudy.Study) -> None:
    trials, finals = study.trials(), study.finals()
    assert len(trials) == 2 * (1 + 2)  # back-prop searches nothing
    assert len(finals) == 4 * 3
    assert set(trials["state"]) == set(finals["state"]) == {"finished"}
    assert "test_accuracy" in finals
    assert "test_accuracy" not in trials
    assert study.epochs().groupby("run")["epoch"].max().eq(2).all()
    assert study.status().summary() == "finished; 18 of 18 runs"
    assert Path("reports/api/report.md").is_file()


def test_comparison_is_the_report_s_table(study: lpstudy.Study) -> None:
    table = study.comparison()
    written = pd.read_csv("reports/api/comparison.csv")
    assert list(table["method"]) == ["teacher", "bp", "kd", "bp", "kd"]
    for column in ("accuracy_mean", "accuracy_low", "delta_bp_mean", "macs"):
        np.testing.assert_allclose(table[column].astype(float), written[column].astype(float), rtol=1e-8)
    means = study.finals().groupby("arm")["test_accuracy"].mean()
    assert table["accuracy_mean"][1] == pytest.approx(means["bp-convnet-d2-w2"])


def test_a_second_run_trains_nothing(study: lpstudy.Study) -> None:
    before = study.finals()
    study.run()
    pd.testing.assert_frame_equal(study.finals(), before)


def test_the_plan_counts_what_the_study_then_runs(study: lpstudy.Study) -> None:
    plan = study.plan()
    assert plan["trials"].sum() == len(study.trials())
    assert plan["finals"].sum() == len(study.finals())
    spec = study.spec.students[1]
    macs = cost_of(
        lpstudy.StudentSpec(family=spec.family, depth=2, width=4), input_shape=(1, 8, 8), classes=10
    )
    assert plan["macs"].iloc[-1] == macs.macs
    assert study.plan(timed=True)["trial_seconds"].gt(0).all()


def test_the_best_arm_is_chosen_by_validation_and_within_its_limits(study: lpstudy.Study) -> None:
    finals = study.finals()
    by_arm = finals.groupby(["method", "student"])["validation_accuracy"].mean()
    best = study.best()
    assert (best.method, best.student) == by_arm.idxmax()
    small = study.best(under_macs=int(finals["macs"].min()))
    assert small.student == "convnet-d2-w2"
    assert study.best(method="kd", student="convnet-d2-w4").hyperparameters["weight"] > 0
    with pytest.raises(ValueError, match="the study has no method 'rkd'; it has bp, kd"):
        study.best(method="rkd")
    with pytest.raises(ValueError, match="no arm with a finished final has at most 10 MACs"):
        study.best(under_macs=10)


def test_a_student_is_the_network_of_its_final(study: lpstudy.Study) -> None:
    model = study.student(method="kd", student="convnet-d2-w4", seed=2)
    finals = study.finals()
    row = finals[finals["arm"].eq("kd-convnet-d2-w4") & finals["seed"].eq(2)].iloc[0]
    test = load(DataSpec(**DATA)).test
    images = next(iter(test.pixels.read([test.labels.new_tensor(range(len(test)))])))
    accuracy = 100 * (model(images).argmax(1) == test.labels).double().mean().item()
    assert accuracy == pytest.approx(row["test_accuracy"], abs=1e-9)
    median = finals[finals["arm"].eq("kd-convnet-d2-w4")]["validation_accuracy"].median()
    chosen = study.student(method="kd", student="convnet-d2-w4")
    assert chosen.description.validation_accuracy == pytest.approx(median)


def test_the_same_study_from_a_file_a_table_and_a_model(folder: Path) -> None:
    write_study(folder)
    by_path = lpstudy.Study(folder / "tiny.toml", trials=3)
    by_table = lpstudy.Study(
        {"name": "tiny", **tomllib.loads(Path("tiny.toml").read_text(encoding="utf-8"))}, trials=3
    )
    by_model = lpstudy.Study(by_path.spec)
    assert by_path.spec == by_table.spec == by_model.spec
    assert by_path.spec == read_study("tiny.toml", trials=3)
    assert lpstudy.Study("digits").name == "digits"


def refuse(message: str, study: object, **options: object) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        lpstudy.Study(study, **options).plan()  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_bad_input_is_one_line_and_starts_nothing(folder: Path) -> None:
    refuse("unknown study 'digit'", "digit")
    refuse("a study is a name, a path, a table or a StudySpec, not int", 3)
    refuse("study: methods: kd.weights: unknown key", TABLE | {"methods": {"kd": {"weights": 1.0}}})
    refuse("study: name", {key: value for key, value in TABLE.items() if key != "name"})
    refuse("budget.trials", TABLE, trials=0)
    refuse("must be a folder of this machine", TABLE, reports="s3://bucket/reports")
    refuse("nowhere.py", TABLE, imports=["nowhere.py"])
    refuse("students: convnet-d2-w2: no design is within", TABLE | {"constraints": {"max_macs": 10}})
    with pytest.raises(ValueError, match="has no study 'api'; it has none"):
        lpstudy.Study(TABLE).status()
    with pytest.raises(ValueError, match="has no study 'api'; it has none; and not from MLflow"):
        lpstudy.Study(TABLE).comparison()
    assert not Path("studies").exists()


def test_an_interrupt_is_a_keyboard_interrupt_and_the_next_run_resumes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = BP.loss
    steps = []

    def interrupting(self: BP, step: object) -> object:
        steps.append(step)
        if len(steps) == 3:
            os.kill(os.getpid(), 2)
        return original(self, step)  # type: ignore[arg-type]

    monkeypatch.setattr(BP, "loss", interrupting)
    study = lpstudy.Study(TABLE | {"methods": {"bp": {}}})
    with pytest.raises(KeyboardInterrupt, match="run the same command to resume"):
        study.run()
    assert study.status().state == "paused"
    assert len(study.run().finals()) == 2 * 3


def test_a_study_without_a_finished_run_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: BP, step: object) -> None:
        raise KeyError("no such layer")

    monkeypatch.setattr(BP, "loss", broken)
    study = lpstudy.Study(TABLE | {"methods": {"bp": {}}, "students": TABLE["students"][:1]})
    with pytest.raises(lpstudy.StudyStoppedError, match="no run of api finished"):
        study.run()
    assert study.trials()["cause"][0] == "KeyError: 'no such layer'"


def test_a_study_runs_in_a_thread(folder: Path) -> None:
    study = lpstudy.Study(TABLE | {"methods": {"bp": {}}, "students": TABLE["students"][:1]}, seeds=1)
    thread = threading.Thread(target=study.run)
    thread.start()
    thread.join()
    assert len(study.finals()) == 1


def test_public_names_are_lazy_and_nothing_starts_ray() -> None:
    program = """
import sys, lpstudy
assert "torch" not in sys.modules
for name in lpstudy.__all__:
    getattr(lpstudy, name)
assert set(lpstudy.__all__) <= set(dir(lpstudy))
print("ray" in sys.modules, lpstudy.LP(gamma=0.1).gamma)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.stdout == "False 0.1\n", done.stderr


def test_the_public_names_are_those_of_the_table() -> None:
    assert sorted(lpstudy.MODULES) == sorted({*lpstudy.__all__} - {"__version__"})
    assert (Path(lpstudy.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="module 'lpstudy' has no attribute 'Studi'"):
        _ = lpstudy.Studi
