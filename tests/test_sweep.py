"""The files, ledger and MLflow runs of the smoke study, which runs once."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from commands import CommandResult, call, client_of, error_line, files, records, run_keys, runs, write_study
from safetensors.torch import load_file

import lpstudy.model_file
from lpstudy import report, sweep
from lpstudy.command.study_session import StudySession
from lpstudy.data import load
from lpstudy.folder import LocalFolder
from lpstudy.ledger import ledger_file_url, read_ledger
from lpstudy.space import find_study_file, read_study_file
from lpstudy.spending import SPENDING
from lpstudy.students import build
from lpstudy.tables.facts import BEYOND_ACCURACY, TEST_COLUMNS
from lpstudy.training import evaluate
from lpstudy.training.memory_format import set_memory_format
from lpstudy.training.precision import has_bf16

METHODS = ["bp", "kd", "fitnet", "lp", "lp_kd"]
Smoke = tuple[Path, CommandResult]


def arm(method: str) -> str:
    return f"{method}-convnet-d2-w8"


KEYS = sorted(
    ["report", "teacher"]
    + [f"arm/{arm(m)}" for m in METHODS]
    + [f"{arm(m)}/trial-0" for m in METHODS]
    + [f"{arm(m)}/final-0-seed-1" for m in METHODS]
)


def test_a_study_ends_well_and_prints_its_table(smoke: Smoke) -> None:
    _, result = smoke
    assert result.code == 0, result.err
    rows = [line.split()[0] for line in result.out.splitlines()[2:8]]
    assert rows == ["teacher", *METHODS]
    assert "report  reports/smoke/report.md" in result.out
    assert "MLflow  sqlite:///mlflow.db, experiment lpstudy/smoke" in result.out
    assert re.search(r"^10 finished in \d+ (s|min)$", result.out, re.MULTILINE)


def test_a_log_has_a_line_for_each_phase_and_each_run_and_none_else(smoke: Smoke) -> None:
    _, result = smoke
    progress = ("teacher: epoch", "teacher's outputs: computed", "warning: ")
    lines = [
        line for line in result.err.splitlines() if not line.startswith(progress) and "running" not in line
    ]
    start, teacher, outputs, trials, *rest = lines
    assert (start, trials) == ("teacher: starting", "starting trials, 1 at once")
    assert teacher.startswith("teacher: convnet-d3-w16, test ")
    # 100 samples, 2 views, fp16: 10 logits, an embedding of 64, a map of 32 x 4 x 4.
    stored = "logits, embedding, map.conv2 stored, 234 kB in fp16; 2 of 9 views, one for each epoch of a run"
    assert outputs == f"teacher's outputs: {stored}"
    assert [int(line.split("/")[0]) for line in rest] == list(range(1, 11)), result.err
    assert all(" finished " in line for line in rest)


def test_the_ledger_has_every_trial_and_final_once(smoke: Smoke) -> None:
    ledger_records = records(smoke[0], "smoke")
    assert sorted(record.assignment.key for record in ledger_records) == [
        key for key in KEYS if "/final" in key or "/trial" in key
    ]
    assert {record.state for record in ledger_records} == {"finished"}
    assert all([epoch.epoch for epoch in record.epochs] == [1, 2] for record in ledger_records)


def test_nothing_but_ledger_weights_store_and_report_is_left(smoke: Smoke) -> None:
    stored = [name for name in files(smoke[0]) if not name.startswith(("mlruns/", "reports/"))]
    weights = [
        f"studies/smoke/runs/{key}/{name}"
        for key in KEYS
        if "/final" in key or "/trial" in key
        for name in ("model.json", "weights.safetensors")
    ]
    assert stored == sorted(["mlflow.db", "studies/smoke/ledger.db", *weights])


def test_mlflow_has_a_run_for_each_arm_trial_and_final_and_none_is_running(smoke: Smoke) -> None:
    mlflow_runs = runs(client_of(smoke[0]), "smoke")
    assert run_keys(mlflow_runs) == KEYS
    assert {run.info.status for run in mlflow_runs} == {"FINISHED"}


def test_trials_and_finals_are_children_of_their_arm(smoke: Smoke) -> None:
    by_id = {run.info.run_id: run for run in runs(client_of(smoke[0]), "smoke")}
    for run in by_id.values():
        tags = run.data.tags
        if tags["lpstudy.kind"] in ("trial", "final"):
            parent = by_id[tags["mlflow.parentRunId"]].data.tags
            assert (parent["lpstudy.kind"], parent["lpstudy.arm"]) == ("arm", tags["lpstudy.arm"])
        else:
            assert "mlflow.parentRunId" not in tags


def test_every_run_says_where_it_comes_from(smoke: Smoke) -> None:
    for run in runs(client_of(smoke[0]), "smoke"):
        tags = run.data.tags
        assert tags["lpstudy.study"] == "smoke"
        assert tags["lpstudy.state"] == "finished"
        for name in ("commit", "versions", "data", "teacher"):
            assert tags[f"lpstudy.{name}"]
        assert tags["lpstudy.views"] == "2 of 9"
        assert tags["lpstudy.precision"] == ("bf16" if has_bf16(torch.device("cpu")) else "fp32")
        if tags["lpstudy.kind"] in ("trial", "final"):
            assert tags["lpstudy.arm"] == arm(tags["lpstudy.method"])
            assert (tags["lpstudy.trial"], tags["lpstudy.attempt"]) == ("0", "1")
            assert tags["lpstudy.seed"] == ("1" if tags["lpstudy.kind"] == "final" else "0")


def test_a_run_has_at_most_50_keys_beside_those_of_the_test_set_and_of_what_it_spends(smoke: Smoke) -> None:
    for run in runs(client_of(smoke[0]), "smoke"):
        of_test = {*TEST_COLUMNS} & run.data.metrics.keys()
        others = {*SPENDING, *TEST_COLUMNS} & run.data.metrics.keys()
        assert len(run.data.params) + len(run.data.metrics) - len(others) <= 50
        if run.data.tags["lpstudy.kind"] == "final":
            assert {f"test_{name}" for name in BEYOND_ACCURACY} <= of_test
        if run.data.tags["lpstudy.kind"] not in ("trial", "final"):
            continue
        assert {"validation_accuracy", "train_loss", "parameters", "macs", "flops"} <= run.data.metrics.keys()
        assert run.data.metrics["flops"] == 2 * run.data.metrics["macs"]
        method = run.data.tags["lpstudy.method"]
        assert ("gamma" in run.data.params) == method.startswith("lp")
        assert ("locality" in run.data.metrics) == method.startswith("lp")
        assert ("lp_ce_gradient_ratio" in run.data.metrics) == method.startswith("lp")
        assert (run.data.metrics["auxiliary_parameters"] > 0) == (method == "fitnet")


def test_the_test_set_is_read_by_finals_and_the_teacher_alone(smoke: Smoke) -> None:
    for run in runs(client_of(smoke[0]), "smoke"):
        reads = run.data.tags["lpstudy.kind"] in ("final", "teacher")
        assert ("test_accuracy" in run.data.metrics) == reads


def test_each_epoch_is_one_metric_point(smoke: Smoke) -> None:
    client = client_of(smoke[0])
    for run in runs(client, "smoke"):
        if run.data.tags["lpstudy.kind"] in ("trial", "final"):
            history = client.get_metric_history(run.info.run_id, "validation_accuracy")
            assert [point.step for point in history] == [1, 2]


def test_the_weights_of_a_final_give_its_recorded_test_accuracy(smoke: Smoke) -> None:
    client = client_of(smoke[0])
    spec = read_study_file(find_study_file("smoke"))
    data = load(spec.data)
    network = build(spec.arms()[0].student_spec({}), input_shape=data.input_shape, classes=data.classes)
    set_memory_format(network)
    finals = [run for run in runs(client, "smoke") if run.data.tags["lpstudy.kind"] == "final"]
    assert len(finals) == 5
    for run in finals:
        network.load_state_dict(load_file(client.download_artifacts(run.info.run_id, "weights.safetensors")))
        bf16 = {"bf16": True, "fp32": False}[run.data.tags["lpstudy.precision"]]
        accuracy, _ = evaluate(network, data.test, bf16=bf16)
        assert run.data.metrics["test_accuracy"] == pytest.approx(accuracy, abs=1e-9)
        described = lpstudy.load_model(client.download_artifacts(run.info.run_id, "")).description
        assert described.test_accuracy == run.data.metrics["test_accuracy"]
        method = run.data.tags["lpstudy.method"]
        assert described.method == ("lp" if method == "lp_kd" else method)
        assert described.precision == run.data.tags["lpstudy.precision"]


def test_the_report_names_a_final_that_loads(smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    (lines,) = re.findall(
        r"```python\n(.*?)```", (smoke[0] / "reports/smoke/report.md").read_text(encoding="utf-8"), re.DOTALL
    )
    monkeypatch.chdir(smoke[0])
    namespace: dict[str, lpstudy.model_file.TrainedModel] = {}
    exec(lines, namespace)  # type: ignore[arg-type]
    assert namespace["model"].class_names == tuple("0123456789")


def test_the_same_command_again_says_it_is_finished_and_adds_no_run(smoke: Smoke) -> None:
    folder, first = smoke
    before = {
        run.info.run_id: (run.info.end_time, run.data.metrics) for run in runs(client_of(folder), "smoke")
    }
    again = call(sweep.main, folder, "smoke")
    assert again.code == 0
    assert again.err == "study 'smoke' is finished; rewriting its report\n"
    assert re.search(r"^10 finished; this start took \d+ s$", again.out, re.MULTILINE)
    assert again.out.splitlines()[:10] == first.out.splitlines()[:10]
    after = {
        run.info.run_id: (run.info.end_time, run.data.metrics) for run in runs(client_of(folder), "smoke")
    }
    finals_and_trials = {k: v for k, v in before.items() if "train_loss" in v[1]}
    assert before.keys() == after.keys()
    assert {k: after[k] for k in finals_and_trials} == finals_and_trials


def test_what_mlflow_has_lost_is_written_again(smoke: Smoke, tmp_path: Path) -> None:
    copy = shutil.copytree(smoke[0], tmp_path / "copy")
    (copy / "mlflow.db").unlink()
    shutil.rmtree(copy / "mlruns")
    table = (copy / "reports/smoke/comparison.csv").read_text()
    again = call(sweep.main, copy, "smoke")
    assert again.code == 0, again.err
    mlflow_runs = runs(client_of(copy), "smoke")
    assert run_keys(mlflow_runs) == KEYS
    assert {run.info.status for run in mlflow_runs} == {"FINISHED"}
    rebuilt = (copy / "reports/smoke/comparison.csv").read_text()
    assert without_ids(rebuilt) == without_ids(table)


def test_a_changed_space_is_refused_with_its_difference(smoke: Smoke) -> None:
    folder, _ = smoke
    text = find_study_file("smoke").read_text().replace("learning_rate = 1e-2", "learning_rate = 2e-2")
    (folder / "smoke.toml").write_text(text)
    before = read_ledger(ledger_file_url(folder / "studies/smoke"), "smoke")
    line = error_line(call(sweep.main, folder, "smoke.toml"))
    (folder / "smoke.toml").unlink()
    assert "training.learning_rate: 0.01 -> 0.02" in line
    assert "--fresh" in line
    after = read_ledger(ledger_file_url(folder / "studies/smoke"), "smoke")
    assert (after.facts, after.records()) == (before.facts, before.records())


def test_a_study_that_runs_already_is_refused(smoke: Smoke) -> None:
    with StudySession(LocalFolder(smoke[0] / "studies/smoke"), None, "smoke", fresh=False).running():
        line = error_line(call(sweep.main, smoke[0], "smoke"))
    assert "'smoke' is running already: host " in line


def test_a_ledger_that_is_no_database_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path)
    ledger = tmp_path / "studies/tiny/ledger.db"
    ledger.parent.mkdir(parents=True)
    ledger.write_text("no database " * 1000)
    result = call(sweep.main, tmp_path, "tiny.toml")
    assert result.code == 2
    assert "ledger" in error_line(result)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "the ledger sqlite://: must name a file"),
        ("sqlite:///:memory:", "the ledger sqlite:///:memory:: must name a file"),
        ("mysql://me:s3cret@host/x", "the ledger mysql://host/x: must be postgresql://... or sqlite:///..."),
        ("ledger.db", "the ledger ledger.db: Could not parse"),
    ],
)
def test_a_ledger_that_would_keep_nothing_is_refused(url: str, message: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    result = call(sweep.main, tmp_path, "tiny.toml", "--ledger", url)
    assert result.code == 2
    assert message in error_line(result)
    assert "s3cret" not in result.err


def test_mlflow_keeps_the_report_as_it_is(smoke: Smoke) -> None:
    folder, _ = smoke
    client = client_of(folder)
    run = next(run for run in runs(client, "smoke") if run.info.run_name == "report")
    artifacts = Path(client.download_artifacts(run.info.run_id, "report"))
    report = folder / "reports/smoke"
    assert files(artifacts) == files(report)
    assert all((artifacts / name).read_bytes() == (report / name).read_bytes() for name in files(report))
    facts = json.loads(Path(client.download_artifacts(run.info.run_id, "study.json")).read_text())
    assert facts["provenance"]["command"] == "python -m lpstudy.sweep smoke --in-process"


def without_ids(table: str) -> str:
    return re.sub(r"\b[0-9a-f]{32}\b", "", table)


def test_the_report_command_makes_the_same_report_from_mlflow_alone(smoke: Smoke, tmp_path: Path) -> None:
    folder, _ = smoke
    contents = {
        name: (folder / "reports/smoke" / name).read_bytes() for name in files(folder / "reports/smoke")
    }
    aside = (folder / "studies").rename(tmp_path / "studies")
    try:
        result = call(report.main, folder, "smoke", "--reports", str(tmp_path / "anew"))
    finally:
        aside.rename(folder / "studies")
    assert result.code == 0, result.err
    anew = tmp_path / "anew/smoke"
    assert {name: (anew / name).read_bytes() for name in files(anew)} == contents
