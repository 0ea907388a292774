"""`lpstudy compare` on a study in MLflow."""

import csv
from pathlib import Path

import pytest
from commands import CommandResult, call

from lpstudy.compare import LONGEST_NAME, folder_name, main


def test_a_study_in_mlflow_is_compared(smoke: tuple[Path, CommandResult]) -> None:
    folder, _ = smoke
    result = call(main, folder, "smoke")
    assert (result.code, result.err) == (0, "")
    assert "0-0-0 (1)" in result.out  # one seed: nothing is tested
    assert "1 study is too few for a Friedman test" in result.out
    with (folder / "reports/compare/smoke/blocks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["bp", "kd", "fitnet", "lp", "lp_kd"]
    accuracies = [-float(row["accuracy_mean"]) for row in rows]
    assert [float(row["rank"]) for row in rows] == [
        1 + sum(other < one for other in accuracies) + (accuracies.count(one) - 1) / 2 for one in accuracies
    ]
    assert (folder / "reports/compare/smoke/compare.md").read_text().startswith("# Methods over 1 study\n")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["smoke", "nix"], "MLflow has no study 'nix'; it has smoke"),
        (["smoke", "smoke"], "study 'smoke' is given twice"),
        (["smoke", "--methods", "bp", "nix"], "no study has a method 'nix'; they have bp, kd, fitnet"),
        (["../smoke"], "MLflow has no study"),
        ([], "the following arguments are required: study"),
    ],
)
def test_bad_input_is_one_line(smoke: tuple[Path, CommandResult], words: list[str], problem: str) -> None:
    result = call(main, smoke[0], *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert problem in result.err


def test_a_long_name_of_a_folder_is_cut_and_stays_its_own() -> None:
    names = [[f"study-{number}" for number in range(start, start + 40)] for start in (0, 1)]
    found = [folder_name(one) for one in names]
    assert all(len(one) <= LONGEST_NAME for one in found)
    assert found[0] != found[1]
    assert folder_name(["a", "b"]) == "a+b"
