"""Finals with a teacher and a split of their own, and added seeds, in whole studies in one process."""

import csv
import os
import signal
from pathlib import Path

import pytest
from commands import CommandResult, call, records, start, wait_for, wait_for_exit, write_study

from lpstudy import plan, sweep
from lpstudy.ledger import FINAL_TEACHERS, SEEDS, ledger_file_url, read_ledger

FIXED = ("learning_rate = { low = 1e-3, high = 1e-1, log = true }", "learning_rate = 0.01")
KD = ("[methods.bp]\n", "[methods.bp]\n\n[methods.kd]\n")
VARY = ("candidates = 1\n", 'vary = ["seed", "teacher", "split"]\n')


def run_study(folder: Path, name: str, *args: str) -> CommandResult:
    return call(sweep.main, folder, f"{name}.toml", "--in-process", *args)


def finals(folder: Path, name: str) -> dict[tuple[str, int], dict[str, float]]:
    """The last metrics of each final by method and seed, without what a machine's load changes."""
    return {
        (one.assignment.arm.partition("-")[0], one.assignment.seed): {
            metric: value
            for metric, value in one.last.items()
            if metric.startswith(("test_", "validation_", "train_"))
        }
        for one in records(folder, name)
        if one.assignment.kind == "final"
    }


def test_the_final_of_a_seed_is_that_of_a_study_with_that_teacher_and_split(tmp_path: Path) -> None:
    write_study(tmp_path, FIXED, KD, VARY, ("seeds = 1", "seeds = 2"), name="varying")
    assert run_study(tmp_path, "varying").code == 0
    ledger = read_ledger(ledger_file_url(tmp_path / "studies/varying"), "varying")
    assert ledger.facts[FINAL_TEACHERS].keys() == {"1", "2"}
    assert len({one["sha256"] for one in ledger.facts[FINAL_TEACHERS].values()}) == 2
    varying = finals(tmp_path, "varying")
    other_teacher = ("epochs = 1\n", "epochs = 1\nseed = 1\n")
    other_split = ('kind = "digits"\n', 'kind = "digits"\nsplit_seed = 1\n')
    write_study(tmp_path, FIXED, KD, other_teacher, other_split, name="plain")
    assert run_study(tmp_path, "plain").code == 0
    plain = finals(tmp_path, "plain")
    assert {key: varying[key] for key in plain} == plain
    report = (tmp_path / "reports/varying/report.md").read_text()
    assert "Each seed of the finals has a teacher of its own: 2 teachers" in report
    assert "`[finals] vary" not in report  # nothing more could vary
    again = run_study(tmp_path, "varying")
    assert again.code == 0
    assert "is finished; rewriting its report" in again.err + again.out


def test_seeds_are_added_to_all_arms_and_the_report_says_why(tmp_path: Path) -> None:
    seeds = ("seeds = 1", "seeds = { low = 2, high = 3 }")
    write_study(tmp_path, FIXED, KD, seeds, name="added")
    result = run_study(tmp_path, "added")
    assert result.code == 0, result.err
    ledger = read_ledger(ledger_file_url(tmp_path / "studies/added"), "added")
    decisions = ledger.facts[SEEDS]
    assert decisions.keys() == {"bp-convnet-d2-w2", "kd-convnet-d2-w2"}
    assert len({str(one) for one in decisions.values()}) == 1
    count = decisions["bp-convnet-d2-w2"]["seeds"]
    assert {key[1] for key in finals(tmp_path, "added")} == set(range(1, count + 1))
    assert ledger.is_complete()
    why = decisions["bp-convnet-d2-w2"]["why"]
    assert why in result.err
    report = (tmp_path / "reports/added/report.md").read_text()
    assert f"Seeds of convnet-d2-w2: {why}." in report
    with (tmp_path / "reports/added/variance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["seed", "test images"]


@pytest.mark.faults
def test_a_study_with_a_teacher_for_each_seed_is_killed_and_has_the_same_finals(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    changes = (FIXED, KD, VARY, ("seeds = 1", "seeds = 2"), ("epochs = 2\n", "epochs = 40\n"))
    for folder in (whole, killed):
        folder.mkdir()
        write_study(folder, *changes)
    assert run_study(whole, "tiny").code == 0
    process = start(killed, "sweep", "tiny.toml", "--in-process")
    wait_for(lambda: list(killed.glob("studies/tiny/runs/*/final-*-seed-2")) or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    wait_for_exit(process)
    assert any(one.state == "running" for one in records(killed, "tiny")) or len(finals(killed, "tiny")) < 4
    assert run_study(killed, "tiny").code == 0
    assert finals(killed, "tiny") == finals(whole, "tiny")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("candidates = 1", 'vary = ["teacher"]'), 'finals.vary: must have "seed" but is teacher'),
        (("candidates = 1", 'vary = ["seed", "seed"]'), "finals.vary: names a source twice: seed, seed"),
        (("candidates = 1", 'vary = ["seed", "images"]'), "finals.vary"),
        (("candidates = 1", "candidates = 0"), "finals.candidates"),
        (("candidates = 1", "searches = 9"), "finals.searches"),
        (("seeds = 1", "seeds = { low = 5, high = 5 }"), "budget.seeds"),
        (("seeds = 1", "seeds = { low = 1, high = 5 }"), "budget.seeds"),
        (("seeds = 1", "seeds = { high = 5 }"), "budget.seeds"),
        (("seeds = 1", "seeds = true"), "budget.seeds"),
    ],
)
def test_bad_settings_of_the_finals_are_refused_in_one_line(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    write_study(tmp_path, change)
    result = call(plan.main, tmp_path, "tiny.toml")
    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
