"""The arm and the final that leave a study are chosen by validation accuracy."""

import re
from collections.abc import Callable
from statistics import fmean, median_low

import pandas as pd
import pytest

from lpstudy.tables.arms import ArmResult, arm_results
from lpstudy.tables.choice import choose_arm, choose_final

SMALL, LARGE = "convnet-d4-w8", "convnet-d4-w16"


@pytest.fixture
def four_seeds(make_frames):
    return make_frames(methods=("bp", "kd", "lp"), seeds=4)


@pytest.fixture
def results(four_seeds) -> Callable[..., list[ArmResult]]:
    """The study's arms; with `cells`, all values in those columns of the runs that `change` describes."""

    def make(change: dict[str, object] | None = None, **cells: object) -> list[ArmResult]:
        runs = four_seeds.runs.copy()
        if change:
            selected = pd.concat([runs[key].eq(value) for key, value in change.items()], axis=1).all(axis=1)
            for name, value in cells.items():
                runs.loc[selected, name] = value
        return arm_results(four_seeds.study, runs)

    return make


def named(results: list[ArmResult], name: str) -> ArmResult:
    return next(one for one in results if one.arm.name == name)


def test_the_arm_has_the_highest_mean_validation_accuracy(four_seeds, results) -> None:
    finals = four_seeds.runs[four_seeds.runs["kind"].eq("final")]
    means = {
        name: fmean(rows["validation_accuracy"]) for name, rows in finals.groupby("arm") if len(rows) == 4
    }
    assert len(means) == 6
    assert choose_arm(results()).arm.name == max(means, key=means.__getitem__)


def test_test_accuracy_chooses_nothing(results) -> None:
    chosen = choose_arm(results())
    worst = results({"arm": chosen.arm.name, "kind": "final"}, test_accuracy=0.0, test_correct="")
    assert choose_arm(worst).arm.name == chosen.arm.name
    assert choose_final(named(worst, chosen.arm.name))["seed"] == choose_final(chosen)["seed"]


def test_method_student_and_macs_narrow_the_choice(results) -> None:
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
def test_what_the_study_lacks_is_told_with_what_it_has(results, choice, line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        choose_arm(results(), **choice)


def test_an_arm_without_a_finished_final_is_not_chosen(results) -> None:
    chosen = choose_arm(results()).arm.name
    assert choose_arm(results({"arm": chosen, "kind": "final"}, state="failed")).arm.name != chosen
    none = results({"kind": "final", "method": "kd"}, state="failed")
    with pytest.raises(ValueError, match=f"^no final has finished yet of kd-{SMALL}, kd-{LARGE}$"):
        choose_arm(none, method="kd")


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_the_final_is_the_lower_median_on_validation(make_frames, seeds: int) -> None:
    frames = make_frames(methods=("bp", "kd"), seeds=seeds)
    result = named(arm_results(frames.study, frames.runs), f"kd-{SMALL}")
    values = list(result.finished_finals["validation_accuracy"])
    assert len(values) == seeds
    assert choose_final(result)["validation_accuracy"] == median_low(values)


def test_of_equal_finals_the_lower_seed_comes_first(results) -> None:
    equal = results({"arm": f"kd-{SMALL}", "kind": "final"}, validation_accuracy=90.0)
    assert choose_final(named(equal, f"kd-{SMALL}"))["seed"] == 1


def test_a_seed_can_be_named(results) -> None:
    result = choose_arm(results(), method="kd", student=SMALL)
    assert choose_final(result, seed=3)["seed"] == 3
    with pytest.raises(ValueError, match=f"^kd-{SMALL} has no finished final of seed 7; seeds: 0, 1, 2, 3$"):
        choose_final(result, seed=7)
