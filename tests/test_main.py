import sys
from pathlib import Path

import pytest
from commands import run

from lpstudy import __main__ as lpstudy


@pytest.mark.parametrize("command", list(lpstudy.COMMANDS))
def test_each_command_has_a_help_with_its_exit_codes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lpstudy", command, "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        lpstudy.main()
    text = capsys.readouterr().out
    assert text.startswith(f"usage: lpstudy {command}")
    assert "exit codes: 0 done" in text


@pytest.mark.parametrize("words", [[], ["swep"]])
def test_an_unknown_command_is_refused_in_one_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lpstudy", *words])
    assert lpstudy.main() == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert (
        "sweep,plan,report,compare,watch,deploy,list,status,pause,resume,stop,cancel,reconcile,export,schema"
        in output.err
    )


def test_the_words_after_the_command_are_its_own(tmp_path: Path) -> None:
    result = run(tmp_path, "__main__", "status", "--storage", "none")
    assert (result.code, result.out, result.err) == (0, "no studies in none\n", "")
