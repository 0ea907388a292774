"""The table [warm_start] from the study file to the report, and what is refused."""

from pathlib import Path

import pytest
from commands import call, error_line, records, write_study

from lpstudy import plan, sweep
from lpstudy.ledger import Ledger, ledger_file_url
from lpstudy.space import read_study_file

WARM = ("[budget]", '[warm_start]\nstudy = "tiny"\ntop = 2\n\n[budget]')
KD = ("[methods.bp]", "[methods.bp]\n[methods.kd]\nweight = { low = 0.1, high = 9.0 }\n")
TWO = ("trials = 1", "trials = 2")
WORDS = "warm start from tiny: 2 points for bp on convnet-d2-w2; no points for kd on convnet-d2-w2"


@pytest.mark.parametrize(
    ("study", "says"),
    [
        ("none", "warm_start.study: studies has no study 'none'; it has tiny"),
        ("tiny", "warm_start.study: 'tiny' has no finished trial"),
        ("other", "warm_start.study: is this study itself; name another one"),
        ("../tiny", "warm_start.study: "),
    ],
)
def test_a_study_that_has_no_points_to_give_is_refused(study: str, says: str, tmp_path: Path) -> None:
    path, folder = write_study(tmp_path), tmp_path / "studies/tiny"
    folder.mkdir(parents=True)
    ledger = Ledger(ledger_file_url(folder), read_study_file(path), input_shape=(1, 8, 8), classes=10)
    ledger.check_unchanged("images")
    write_study(tmp_path, (WARM[0], WARM[1].replace("tiny", study)), name="other")
    result = call(plan.main, tmp_path, "other.toml", "--untimed")
    assert result.code == 2
    assert says in error_line(result)


def test_points_are_taken_once_and_said(tmp_path: Path) -> None:
    write_study(tmp_path, TWO)
    assert call(sweep.main, tmp_path, "tiny.toml", "--in-process").code == 0
    best, second = sorted(
        (one for one in records(tmp_path, "tiny") if one.assignment.kind == "trial"),
        key=lambda one: -one.last["validation_accuracy"],
    )
    write_study(tmp_path, TWO, WARM, KD, name="other")
    result = call(sweep.main, tmp_path, "other.toml", "--in-process")
    assert result.code == 0, result.err
    assert f"note: {WORDS}" in result.err
    trials = [one.assignment for one in records(tmp_path, "other") if one.assignment.kind == "trial"]
    of_bp = [one.values for one in trials if one.arm == "bp-convnet-d2-w2"]
    assert of_bp == [best.assignment.values, second.assignment.values]
    report = (tmp_path / "reports/other/report.md").read_text(encoding="utf-8")
    assert f"- W{WORDS[1:]}\n" in report
    assert "- kd-convnet-d2-w2: tiny has no such arm\n" in report

    (tmp_path / "studies/tiny/ledger.db").unlink()
    planned = call(plan.main, tmp_path, "other.toml", "--untimed")  # a resume needs not the other study
    assert planned.code == 0, planned.err
    assert WORDS in planned.out
    lp = (KD[0], f"{KD[1]}[methods.lp]\nn_neighbors = 3\n")
    write_study(tmp_path, TWO, WARM, lp, name="other")
    line = error_line(call(plan.main, tmp_path, "other.toml", "--untimed"))
    assert "warm_start.study: studies has no study 'tiny'" in line
