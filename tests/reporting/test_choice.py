"""The arm and the final that leave a study are chosen by validation accuracy."""

import re
from statistics import fmean, median_low

import pandas as pd
import pytest
from conftest import make

from lpstudy.tables.arms import arm_results
from lpstudy.tables.choice import choose_arm, choose_final

FRAMES = make(methods=("bp", "kd", "lp"), seeds=4)
SMALL, LARGE = "convnet-d4-w8", "convnet-d4-w16"


def results(change: dict[str, object] | None = None, **cells: object) -> list:
    """The study's arms; with `cells`, all values in those columns of the runs that `change` describes."""
    runs = FRAMES.runs.copy()
    if change:
        selected = pd.concat([runs[name].eq(value) for name, value in change.items()], axis=1).all(axis=1)
        for name, value in cells.items():
            runs.loc[selected, name] = value
    return arm_results(FRAMES.study, runs)


def validation(name: str) -> dict[int, float]:
    finals = FRAMES.runs[FRAMES.runs["arm"].eq(name) & FRAMES.runs["kind"].eq("final")]
    return dict(zip(finals["seed"].astype(int), finals["validation_accuracy"], strict=True))


def test_the_arm_has_the_highest_mean_validation_accuracy() -> None:
    means = {arm.name: fmean(validation(arm.name).values()) for arm in FRAMES.study.arms}
    assert choose_arm(results()).arm.name == max(means, key=means.__getitem__)


def test_test_accuracy_chooses_nothing() -> None:
    chosen = choose_arm(results())
    worst = results({"arm": chosen.arm.name, "kind": "final"}, test_accuracy=0.0, test_correct="")
    assert choose_arm(worst).arm.name == chosen.arm.name
    again = next(result for result in worst if result.arm.name == chosen.arm.name)
    assert choose_final(again)["seed"] == choose_final(chosen)["seed"]


def test_method_student_and_macs_narrow_the_choice() -> None:
    assert choose_arm(results(), method="bp", student=SMALL).arm.name == f"bp-{SMALL}"
    assert choose_arm(results(), under_macs=1_210_000).arm.student == SMALL
    assert choose_arm(results(), under_macs=10**9).arm.student == choose_arm(results()).arm.student


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"method": "dkd"}, "the study has no method 'dkd'; it has bp, kd, lp"),
        ({"student": "wrn"}, f"the study has no student 'wrn'; it has {SMALL}, {LARGE}"),
        (
            {"method": "kd", "under_macs": 1_209_999},
            f"no arm with a finished final has at most 1,209,999 MACs; the fewest has kd-{SMALL}, 1,210,000",
        ),
    ],
)
def test_what_the_study_lacks_is_told_with_what_it_has(choice: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        choose_arm(results(), **choice)  # type: ignore[arg-type]


def test_an_arm_without_a_finished_final_is_not_chosen() -> None:
    chosen = choose_arm(results())
    assert choose_arm(results({"arm": chosen.arm.name, "kind": "final"}, state="failed")) != chosen
    none = results({"kind": "final", "method": "kd"}, state="failed")
    with pytest.raises(ValueError, match=f"^no final has finished yet of kd-{SMALL}, kd-{LARGE}$"):
        choose_arm(none, method="kd")


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_the_final_is_the_lower_median_on_validation(seeds: int) -> None:
    name, frames = f"kd-{SMALL}", make(methods=("bp", "kd"), seeds=seeds)
    result = next(one for one in arm_results(frames.study, frames.runs) if one.arm.name == name)
    values = list(result.finished_finals["validation_accuracy"])
    assert len(values) == seeds
    assert choose_final(result)["validation_accuracy"] == median_low(values)


def test_of_equal_finals_the_lower_seed_comes_first() -> None:
    result = results({"arm": f"kd-{SMALL}", "kind": "final"}, validation_accuracy=90.0)
    final = choose_final(next(one for one in result if one.arm.name == f"kd-{SMALL}"))
    assert final["seed"] == 1


def test_a_seed_can_be_named() -> None:
    result = choose_arm(results(), method="kd", student=SMALL)
    assert choose_final(result, seed=3)["seed"] == 3
    with pytest.raises(ValueError, match=f"^kd-{SMALL} has no finished final of seed 7; seeds: 0, 1, 2, 3$"):
        choose_final(result, seed=7)
