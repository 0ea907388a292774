"""Commands under `python -OO`, which removes the docstrings that Ray needs."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, environment

CUSTOM = """
import sys
with open("levels", "a") as file:
    file.write(str(sys.flags.optimize))
"""


def levels(folder: Path, words: list[str], **variables: str) -> str:
    """The optimisation levels of the Python processes that the command starts."""
    (folder / "sitecustomize.py").write_text(CUSTOM)
    variables["PYTHONPATH"] = f"{folder}:{ROOT}"
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=folder, env=environment(**variables), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stderr == ""
    return (folder / "levels").read_text()


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["-OO", "-u", "-m", "lpstudy", "--help"], ""),
        (["-uOO", "-W", "ignore", "-m", "lpstudy", "--help"], ""),
        (["-m", "lpstudy.__main__", "-h"], "2"),
    ],
)
def test_a_command_starts_again_with_docstrings(words: list[str], level: str, tmp_path: Path) -> None:
    assert levels(tmp_path, words, PYTHONOPTIMIZE=level) == "21"


def test_another_program_that_imports_the_package_is_left_as_it_is(tmp_path: Path) -> None:
    assert levels(tmp_path, ["-OO", "-c", "import lpstudy"]) == "2"


def test_without_the_flag_nothing_is_started_again(tmp_path: Path) -> None:
    assert levels(tmp_path, ["-m", "lpstudy", "--help"]) == "0"
