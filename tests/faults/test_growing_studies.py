"""Whole studies that grow and are killed meanwhile, hide arms and show them again, in one process."""

from pathlib import Path

import pandas as pd
from commands import call, client_of, records, run_keys, runs, start, wait_for, write_study

from lpstudy import export, plan, reconcile, report, status, sweep
from lpstudy.spending import MEASURED

KD = ("[methods.bp]", "[methods.bp]\n[methods.kd]\nweight = { low = 0.1, high = 9.0 }\n")
LP = ("[methods.bp]", f"{KD[1]}[methods.lp]\nn_neighbors = 3\n")
STUDENT = ("width = 2\n", 'width = 2\n\n[[students]]\nfamily = "convnet"\ndepth = 2\nwidth = 3\n')
BUDGET = ("trials = 1\nepochs = 2\nseeds = 1", "trials = 2\nepochs = 2\nseeds = 2")
LONG, OFTEN = ("epochs = 2\n", "epochs = 250\n"), ("checkpoint_seconds = 0.0", "checkpoint_seconds = 0.2")
TIMES = ["started", "ended", "attempt", *MEASURED]


def swept(folder: Path, *changes: tuple[str, str]) -> str:
    """Run the tiny study with these changes; returns what it says."""
    write_study(folder, *changes)
    result = call(sweep.main, folder, "tiny.toml", "--in-process")
    assert result.code == 0, result.err
    return result.err


def tables(folder: Path) -> list[pd.DataFrame]:
    """The exported runs and epochs without times, and the report's comparison without ids of MLflow."""
    result = call(export.main, folder, "tiny", "--to", str(folder / "export"))
    assert result.code == 0, result.err
    frames = [pd.read_parquet(folder / f"export/{kind}.parquet") for kind in ("runs", "epochs")]
    comparison = pd.read_csv(folder / "reports/tiny/comparison.csv").drop(columns="mlflow_run_id")
    return [*(frame.drop(columns=TIMES, errors="ignore") for frame in frames), comparison]


def report_text(folder: Path) -> str:
    return (folder / "reports/tiny/report.md").read_text(encoding="utf-8")


def test_a_study_grows_and_hides_what_its_file_no_longer_has(tmp_path: Path) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    for folder in (grown, whole):
        folder.mkdir()
    swept(grown, KD)
    assert "How this study grew" not in report_text(grown)
    before = {record.assignment.key: record for record in records(grown, "tiny")}
    write_study(grown, LP, STUDENT, BUDGET)
    planned = call(plan.main, grown, "tiny.toml", "--untimed").out.splitlines()
    assert "note: adds: lp on 2 students (4 trials, 4 finals)" in planned
    assert "note: adds: bp, kd on convnet-d2-w3 (4 trials, 4 finals)" in planned
    said = swept(grown, LP, STUDENT, BUDGET)
    assert "the study has changed: new: lp on 2 students and bp, kd on convnet-d2-w3; trials per arm" in said
    after = {record.assignment.key: record for record in records(grown, "tiny")}
    assert before.items() <= after.items()
    swept(whole, LP, STUDENT, BUDGET)
    runs_grown, epochs_grown, comparison_grown = tables(grown)
    runs_whole, epochs_whole, comparison_whole = tables(whole)
    keys = ["arm", "kind", "trial", "seed"]
    earlier = runs_grown.merge(runs_whole[keys], how="left", indicator=True)["_merge"].eq("left_only")
    assert set(runs_grown[earlier]["kind"]) <= {"final"}  # of winners that later trials have beaten
    pd.testing.assert_frame_equal(runs_grown[~earlier].reset_index(drop=True), runs_whole, check_exact=True)
    pd.testing.assert_frame_equal(comparison_grown, comparison_whole, check_exact=True)
    assert len(epochs_grown) == len(epochs_whole) + 2 * earlier.sum()

    both = runs(client_of(grown), "tiny")
    swept(grown, KD, STUDENT, BUDGET)
    assert run_keys(runs(client_of(grown), "tiny")) == run_keys(both)
    text = report_text(grown)
    assert "Hidden: lp on 2 students, 8 runs, since they are no longer in the study file." in text
    assert "after 24 runs" in text or "after 25 runs" in text or "after 26 runs" in text
    assert not set(pd.read_csv(grown / "reports/tiny/comparison.csv")["method"]) & {"lp"}
    assert "| `lp` |" not in text
    shown = call(status.main, grown, "tiny").out
    assert "note: hidden: lp on 2 students, 8 runs" in shown
    assert call(reconcile.main, grown, "tiny").code == 0
    assert run_keys(runs(client_of(grown), "tiny")) == run_keys(both)
    assert call(report.main, grown, "tiny").code == 0
    assert report_text(grown) == text

    said = swept(grown, LP, STUDENT, BUDGET)
    assert "is finished; rewriting its report" in said
    assert {record.assignment.key: record for record in records(grown, "tiny")} == after
    pd.testing.assert_frame_equal(tables(grown)[2], comparison_grown, check_exact=True)
    assert "shown again: lp on 2 students" in report_text(grown)


def test_a_study_that_is_killed_while_it_grows_equals_an_undisturbed_one(tmp_path: Path) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    for folder in (grown, whole):
        folder.mkdir()
    swept(grown, LONG, OFTEN)
    before = {record.assignment.key: record for record in records(grown, "tiny")}
    write_study(grown, LONG, OFTEN, KD)
    for moment in ("*/checkpoint-*.json", "final*/checkpoint-*.json"):
        process = start(grown, "sweep", "tiny.toml", "--in-process")
        pattern = f"studies/tiny/runs/kd-convnet-d2-w2/{moment}"
        wait_for(lambda: [*grown.glob(pattern)] or process.poll() is not None)  # noqa: B023  # called at once
        process.kill()
        process.communicate()
    assert any(record.state == "running" for record in records(grown, "tiny"))
    swept(grown, LONG, OFTEN, KD)
    assert before.items() <= {record.assignment.key: record for record in records(grown, "tiny")}.items()
    swept(whole, LONG, OFTEN, KD)
    for mine, other in zip(tables(grown), tables(whole), strict=True):
        pd.testing.assert_frame_equal(mine, other, check_exact=True)
