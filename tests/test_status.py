import shutil
from pathlib import Path

import pytest
from commands import CommandResult, call, records

from lpstudy import status
from lpstudy.command.quantities import three_digits

Smoke = tuple[Path, CommandResult]


def test_every_arm_is_shown_with_what_is_done_and_its_best(smoke: Smoke) -> None:
    folder, _ = smoke
    result = call(status.main, folder)
    assert result.code == 0, result.err
    assert result.out.startswith("smoke: finished; 10 of 10 runs\n")
    rows = {(row[0], row[1]): row[2:] for row in map(str.split, result.out.splitlines()[2:12])}
    assert len(rows) == 10
    for record in records(folder, "smoke"):
        row = rows[record.assignment.arm, record.assignment.kind]
        assert row == ["1", "0", "0", "0", "0", f"{record.last['validation_accuracy']:.2f}"]


def test_one_study_can_be_asked_for(smoke: Smoke) -> None:
    assert call(status.main, smoke[0], "smoke").out == call(status.main, smoke[0]).out


def test_a_study_that_was_put_aside_and_one_that_is_broken_hide_no_other(
    smoke: Smoke, tmp_path: Path
) -> None:
    for name in ("smoke", "smoke.old1"):
        shutil.copytree(smoke[0] / "studies/smoke", tmp_path / "studies" / name)
    (tmp_path / "studies/broken").mkdir()
    (tmp_path / "studies/broken/ledger.db").write_text("no database " * 1000)
    result = call(status.main, tmp_path)
    assert result.code == 1, result.err
    heads = [line for line in result.out.splitlines() if ": " in line]
    assert heads[0].startswith("broken: unreadable (")
    assert heads[1:] == ["smoke: finished; 10 of 10 runs", "smoke.old1: finished; 10 of 10 runs"]


def test_a_storage_without_studies_is_reported(tmp_path: Path) -> None:
    assert call(status.main, tmp_path, "--storage", "none") == CommandResult(0, "no studies in none\n", "")


def test_status_changes_no_file(smoke: Smoke) -> None:
    ledger = smoke[0] / "studies/smoke/ledger.db"
    before = ledger.read_bytes()
    call(status.main, smoke[0])
    assert ledger.read_bytes() == before


@pytest.mark.parametrize(
    ("value", "text"), [(0.524, "0.524"), (4, "4"), (71.26, "71.3"), (123.4, "123"), (4788.0, "4,788")]
)
def test_figures_have_no_exponent(value: float, text: str) -> None:
    assert three_digits(value) == text
