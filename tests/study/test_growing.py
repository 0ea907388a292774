"""A change that a begun study does not take."""

from pathlib import Path

from commands import call, error_line, records, write_study

from lpstudy import plan, sweep

KD = ("[methods.bp]", "[methods.bp]\n[methods.kd]")


def test_another_change_is_refused_by_name_and_planned_as_refused(tmp_path: Path) -> None:
    write_study(tmp_path)
    assert call(sweep.main, tmp_path, "tiny.toml", "--in-process").code == 0
    write_study(tmp_path, KD, ("epochs = 2\n", "epochs = 3\n"))
    line = error_line(call(sweep.main, tmp_path, "tiny.toml", "--in-process"))
    words = "study 'tiny' was started with another space: budget.epochs: 2 -> 3; restore the previous one"
    assert words in line
    assert "--fresh" in line
    assert (
        f"note: a sweep refuses this file: {words}" in call(plan.main, tmp_path, "tiny.toml", "--untimed").out
    )
    assert [record.assignment.arm for record in records(tmp_path, "tiny")] == ["bp-convnet-d2-w2"] * 2
