"""A budget of computing time or money: no trial starts once it is spent, and the finals run."""

from pathlib import Path
from typing import Any

import pytest
from commands import call, write_study

from lpstudy import plan, status, sweep
from lpstudy.ledger import (
    SPENT,
    Assignment,
    Done,
    Ledger,
    StudyProgress,
    ledger_file_url,
    phase_rows,
    read_ledger,
    read_progress,
)
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec, parse
from lpstudy.spending import PhaseSpending

HOUR = 3600.0
SPACE: dict[str, Any] = {
    "name": "spent",
    "data": {"kind": "digits"},
    "teacher": {"family": "convnet", "depth": 2, "width": 4},
    "students": [{"family": "convnet", "depth": 2, "width": 2}],
    "methods": {"bp": {}, "kd": {}},
    "training": {"learning_rate": {"low": 1e-3, "high": 0.1}},
    "finals": {"candidates": 1},
}


def spec(trials: int = 9, cost: dict[str, object] | None = None, **budget: object) -> StudySpec:
    table = SPACE | {"budget": {"trials": trials, "epochs": 2, "seeds": 2, "pruner": "none"} | budget}
    return parse(table | ({} if cost is None else {"cost": cost}), "test")


def opened(folder: Path, study: StudySpec) -> Ledger:
    ledger = Ledger(ledger_file_url(folder), study, input_shape=(1, 8, 8), classes=10)
    ledger.check_unchanged("images")
    ledger.adopt_unfinished()
    return ledger


def play(ledger: Ledger, **figures: float) -> list[str]:
    """The kinds of the runs that the ledger hands out, each of which spends so much."""
    kinds = []
    while isinstance(run := ledger.next(), Assignment):
        kinds.append(run.kind)
        for epoch in (1, 2):
            spent = {name: epoch / 2 * value for name, value in figures.items()}
            ledger.report(run, [EpochResult(epoch, {"validation_accuracy": 50.0, **spent})])
        ledger.finish(run, "finished")
    assert isinstance(run, Done)
    return kinds


def test_no_trial_starts_after_the_hours_are_spent_and_the_finals_run(tmp_path: Path) -> None:
    ledger = opened(tmp_path, spec(cpu_hours=5.0))
    kinds = play(ledger, cpu_seconds=HOUR, gpu_seconds=0.0)
    assert kinds == ["trial"] * 5 + ["final"] * 4
    assert ledger.is_complete()
    assert ledger.expected_runs == len(kinds)
    for reader in (read_ledger(ledger_file_url(tmp_path), "spent"), read_stored(tmp_path)):
        assert reader.is_complete()
        assert reader.remaining_trials("bp-convnet-d2-w2", 9) == 0
        assert reader.spent_limits() == ["cpu_hours"]


def read_stored(folder: Path) -> StudyProgress:
    return read_progress(ledger_file_url(folder), "spent")


def test_hours_of_an_earlier_start_count_and_a_larger_budget_goes_on(tmp_path: Path) -> None:
    play(opened(tmp_path, spec(gpu_hours=3.0)), gpu_seconds=HOUR, cpu_seconds=9 * HOUR)
    assert play(opened(tmp_path, spec(gpu_hours=3.0)), gpu_seconds=HOUR) == []
    again = play(opened(tmp_path, spec(gpu_hours=9.0)), gpu_seconds=HOUR)
    assert again[:2] == ["trial"] * 2  # 3 + 4 hours of finals before, 9 now


def test_what_this_study_spent_on_teacher_and_bank_counts_and_what_another_did_does_not(
    tmp_path: Path,
) -> None:
    ledger = opened(tmp_path, spec(gpu_hours=5.0))
    own = PhaseSpending("teacher", figures={"gpu_seconds": 2 * HOUR})
    earlier = PhaseSpending("bank", figures={"gpu_seconds": 100 * HOUR}, is_earlier=True)
    ledger.set_fact(SPENT, phase_rows([own, earlier]))
    assert play(ledger, gpu_seconds=HOUR).count("trial") == 3


def test_money_is_counted_by_the_prices(tmp_path: Path) -> None:
    ledger = opened(tmp_path, spec(money=6.0, cost={"price_per_gpu_hour": 3.0, "price_per_cpu_hour": 0.5}))
    assert play(ledger, gpu_seconds=HOUR / 2, cpu_seconds=HOUR).count("trial") == 3  # 2 each


def test_a_running_trial_counts_as_far_as_it_has_reported(tmp_path: Path) -> None:
    ledger = opened(tmp_path, spec(cpu_hours=1.0))
    first, second = ledger.next(), ledger.next()
    assert isinstance(first, Assignment)
    assert isinstance(second, Assignment)
    assert not ledger.is_spent
    ledger.report(first, [EpochResult(1, {"validation_accuracy": 1.0, "cpu_seconds": 0.7 * HOUR})])
    ledger.report(second, [EpochResult(1, {"validation_accuracy": 1.0, "cpu_seconds": 0.4 * HOUR})])
    assert ledger.is_spent


def test_a_study_without_such_a_budget_never_is_spent(tmp_path: Path) -> None:
    assert play(opened(tmp_path, spec(trials=2)), cpu_seconds=1e9) == ["trial"] * 4 + ["final"] * 4


@pytest.mark.parametrize("cost", [None, {"price_per_gpu_hour": 0.0}])
def test_money_without_prices_is_refused(cost: dict[str, object] | None) -> None:
    with pytest.raises(ValueError, match=r"test: budget.money: needs price_per_cpu_hour or price_per_gpu"):
        spec(money=3.0, cost=cost)


def test_a_plan_says_whether_the_budget_is_enough_and_a_sweep_stops_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))  # else its teacher may be an earlier one
    write_study(tmp_path, ("seeds = 1", "seeds = 1\ncpu_hours = 1e-7"), ("trials = 1", "trials = 3"))
    planned = call(plan.main, tmp_path, "tiny.toml").out
    assert "[budget] cpu_hours = 1e-07 is not enough, the last trials would not start: about" in planned
    call(sweep.main, tmp_path, "tiny.toml", "--in-process")  # its teacher spends all of it
    ledger = ledger_file_url(tmp_path / "studies/tiny")
    assert read_ledger(ledger, "tiny").records() == []
    status_words = call(status.main, tmp_path, "tiny").out
    assert "[budget] cpu_hours = 1e-07 is spent: no further trial starts, the finals run" in status_words
    text = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "tiny.toml").write_text(text.replace("1e-7", "1.0"))
    assert "[budget] cpu_hours = 1 is enough: about" in call(plan.main, tmp_path, "tiny.toml").out
    assert call(sweep.main, tmp_path, "tiny.toml", "--in-process").code == 0
    reader = read_ledger(ledger, "tiny")
    assert {record.state for record in reader.records()} == {"finished"}
    assert reader.is_complete()
