"""What a sweep stores of its costs: those of teacher and bank, of this study or of an earlier one."""

from pathlib import Path

import pytest
from commands import call, write_study

from lpstudy import plan, sweep
from lpstudy.command.shared_spending import SharedSpending
from lpstudy.ledger import ESTIMATE, SPENT, Ledger, ledger_file_url, read_ledger, stored_phases
from lpstudy.space import read_study_file
from lpstudy.spending import BANK, PhaseSpending
from lpstudy.teacher import TrainedTeacher

KD = ("[methods.bp]", "[methods.kd]\nweight = 1.0\n")
PRICED = ("[budget]", "[cost]\nprice_per_cpu_hour = 3600.0\n\n[budget]")


def swept(folder: Path, name: str) -> list[PhaseSpending]:
    write_study(folder, KD, PRICED, name=name)
    result = call(sweep.main, folder, f"{name}.toml", "--in-process")
    assert result.code == 0, result.err
    reader = read_ledger(ledger_file_url(folder / "studies" / name), name)
    return list(stored_phases(reader.facts, SPENT))


def test_a_later_study_has_teacher_and_bank_as_spent_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    planned = call(plan.main, tmp_path, str(write_study(tmp_path, KD, PRICED, name="first")))
    assert "together" in planned.out
    first, second = swept(tmp_path, "first"), swept(tmp_path, "second")
    own = {row.phase: row for row in first if not row.is_earlier}
    earlier = {row.phase: row for row in second if row.is_earlier}
    assert own.keys() == earlier.keys() == {"teacher", "bank"}
    for phase, row in own.items():
        assert 0 < row.figures["cpu_seconds"] < row.figures["wall_seconds"] + 5
        assert earlier[phase].figures == row.figures
        assert earlier[phase].macs == row.macs
    assert all(row.is_earlier for row in second)
    # 50 images through a teacher of 3 x 3 convolutions 1 -> 4 -> 8 and a linear layer 8 -> 10.
    assert own["bank"].macs == 50 * (8 * 8 * 9 * 4 + 4 * 4 * 9 * 4 * 8 + 8 * 10)
    report = (tmp_path / "reports/second/report.md").read_text()
    assert "| teacher, spent earlier |" in report
    costs = (tmp_path / "reports/first/cost.csv").read_text()
    assert costs.splitlines()[1].startswith("teacher,,,,False,1,")
    facts = read_ledger(ledger_file_url(tmp_path / "studies/first"), "first").facts
    assert {row.phase for row in stored_phases(facts, ESTIMATE)} == {"teacher", "bank", "trial", "final"}
    assert ESTIMATE not in read_ledger(ledger_file_url(tmp_path / "studies/second"), "second").facts


@pytest.fixture
def shared(tmp_path: Path) -> tuple[SharedSpending, list[PhaseSpending | None]]:
    """The costs of an empty study, and what its bank has cost in turn."""
    bank: list[PhaseSpending | None] = []
    spec = read_study_file(write_study(tmp_path))
    ledger = Ledger(ledger_file_url(tmp_path), spec, input_shape=(1, 8, 8), classes=10)
    teacher = TrainedTeacher("", "k", "0", "net", 20.0, 20.0, 1, 1, 7.0, 0, spending={"cpu_seconds": 4.0})
    return SharedSpending(ledger, teacher, lambda: bank.pop(0)), bank


def spent(blocks: int) -> PhaseSpending:
    return PhaseSpending(BANK, runs=blocks, macs=10.0 * blocks, figures={"cpu_seconds": 2.0 * blocks})


def test_the_bank_of_a_study_that_is_killed_and_resumed_adds_up(
    shared: tuple[SharedSpending, list[PhaseSpending | None]],
) -> None:
    spending, bank = shared
    bank += [spent(3), spent(5), spent(9)]  # at the first start, after its kill, at the end
    with pytest.raises(KeyboardInterrupt), spending.of_bank():
        raise KeyboardInterrupt
    with spending.of_bank():
        pass
    earlier, own = stored_phases(spending.ledger.facts, SPENT)
    assert (earlier.runs, earlier.is_earlier, earlier.figures) == (3, True, {"cpu_seconds": 6.0})
    assert (own.runs, own.is_earlier, own.macs, own.figures) == (6, False, 60.0, {"cpu_seconds": 12.0})


def test_a_teacher_that_the_cache_has_lost_is_paid_for_twice(
    shared: tuple[SharedSpending, list[PhaseSpending | None]],
) -> None:
    spending, _ = shared
    spending.note_teacher(is_new=True)
    spending.note_teacher(is_new=False)  # a resumed study finds it in the cache
    assert [row.figures for row in stored_phases(spending.ledger.facts, SPENT)] == [{"cpu_seconds": 4.0}]
    spending.note_teacher(is_new=True)
    (row,) = stored_phases(spending.ledger.facts, SPENT)
    assert (row.figures, row.macs, row.runs) == ({"cpu_seconds": 8.0}, 14.0, 2)
