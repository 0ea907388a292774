"""One study on Ray and in one process: the numbers are equal to the last digit."""

from pathlib import Path

import pandas as pd
import pytest
from commands import CommandResult, run

from lpstudy.space import find_study_file
from lpstudy.spending import MEASURED

BACKENDS = {"ray": ("--concurrent", "1"), "in_process": ("--in-process",)}
SHORT = ("--trials", "3", "--epochs", "6", "--seeds", "2")
CLOCK = ["started", "ended", *MEASURED]
IDENTIFIERS = ["run_id", "mlflow_run_id"]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, CommandResult]]:
    """The digits study in float32, shortened, with one fixed size, on each backend with its own cache."""
    text = find_study_file("digits").read_text()
    for table in ("[teacher]", "[training]"):
        assert text.count(table) == 1
        text = text.replace(table, f'{table}\nprecision = "fp32"')
    for width in (8, 16):
        student = f'[[students]]\nfamily = "convnet"\ndepth = 3\nwidth = {width}\n'
        assert text.count(student) == 1
        text = text.replace(student, "")
    text += "\n[finals]\ncandidates = 1\nfront = 1\n"
    found = {}
    for name, flags in BACKENDS.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / "digits32.toml").write_text(text)
        cache = str(folder / "cache")
        found[name] = folder, run(folder, "sweep", "digits32.toml", *SHORT, *flags, LPSTUDY_CACHE=cache)
    return found


@pytest.mark.parametrize("name", BACKENDS)
def test_the_study_ends_well(name: str, studies: dict[str, tuple[Path, CommandResult]]) -> None:
    _, result = studies[name]
    assert result.code == 0, result.err
    phases = [line for line in result.err.splitlines() if "starting" in line]
    ray = ["starting Ray", "teacher: starting its process"]
    assert phases[:-1] == (ray if name == "ray" else ["teacher: starting"])
    assert phases[-1] == "starting trials, 1 at once"


@pytest.mark.parametrize("table", ["comparison", "trials"])
def test_its_tables_are_equal(table: str, studies: dict[str, tuple[Path, CommandResult]]) -> None:
    frames = [
        pd.read_csv(folder / f"reports/digits32/{table}.csv", dtype=str).drop(
            columns=[*CLOCK, *IDENTIFIERS], errors="ignore"
        )
        for folder, _ in studies.values()
    ]
    assert len(frames[0]) == (9 if table == "comparison" else 8 * (3 + 2))
    pd.testing.assert_frame_equal(*frames)
