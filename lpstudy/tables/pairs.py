"""Every pair of methods of a student, with two tests and Holm's correction over four families."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from lpstudy.tables.arms import BASELINE, ArmResult
from lpstudy.tables.deciding_seeds import to_decide
from lpstudy.tables.intervals import LEVEL, Interval
from lpstudy.tables.looks import corrected, permutation_test, t_test
from lpstudy.tables.paired_columns import FIGURES, pair_figures
from lpstudy.tables.scores import Scores

DISTILLATION = "kd"
"""The method that all are compared with besides back-prop."""
FAMILIES = (BASELINE, DISTILLATION, "best", "all")
"""Pairs with `bp`; with `kd`; with the method of the highest mean; all pairs of the student."""
TESTS = {"t": t_test, "permutation": permutation_test}
PAIR_COLUMNS = (
    "student",
    "method",
    "rival",
    "seeds",
    "delta_mean",
    "delta_low",
    "delta_high",
    "delta_detectable",
    *FIGURES,
    *(f"p_{test}_holm_{family}" for test in TESTS for family in FAMILIES),
    "to_decide",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two winners of one student and size, with at least one seed that both have."""

    method: ArmResult
    rival: ArmResult
    differences: tuple[float, ...]
    """Accuracy less the rival's in percentage points, seed by seed."""
    delta: Interval
    """Their mean, not corrected."""

    @property
    def scores(self) -> tuple[Scores, Scores]:
        """The scores of both."""
        return self.method.scores, self.rival.scores

    def holds(self, method: str) -> bool:
        """Whether one of the two is the method."""
        return method in (self.method.arm.method, self.rival.arm.method)


def pairs_of(results: Sequence[ArmResult]) -> list[Pair]:
    """The pairs of one student's results; the rival is `bp`, else `kd`, else the one of the lower mean."""
    ranked = sorted((one for one in results if one.accuracy.n), key=lambda one: -one.accuracy.mean)
    last = {BASELINE: 2, DISTILLATION: 1}
    ranked.sort(key=lambda one: last.get(one.arm.method, 0))
    pairs = []
    for method, rival in combinations(ranked, 2):
        delta = method.difference(rival)
        if delta.n:
            pairs.append(Pair(method, rival, tuple(method.scores.seed_differences(rival.scores)), delta))
    return pairs


def pairs_table(results: Sequence[ArmResult]) -> pd.DataFrame:
    """The pairs of each student, with the columns of pairs.csv (`PAIR_COLUMNS`).

    A row's difference, interval and p-values are of this pair alone; `p_TEST_holm_FAMILY` is Holm's p-value
    over the pairs of the family, empty for a pair outside it; `to_decide` is what would decide a difference
    that is within noise as one of all pairs.
    """
    students = dict.fromkeys(one.arm.student for one in results)
    frames = [_of_student([one for one in results if one.arm.student == name]) for name in students]
    rows = [row for frame in frames for row in frame.to_dict("records")]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def has_pairs(results: Sequence[ArmResult]) -> bool:
    """Whether the table has a row."""
    return any(
        one.difference(other).n
        for one, other in combinations(results, 2)
        if one.arm.student == other.arm.student
    )


def _of_student(results: Sequence[ArmResult]) -> pd.DataFrame:
    pairs = pairs_of(results)
    frame = pd.DataFrame([_row(pair) for pair in pairs])
    for family in FAMILIES if pairs else ():
        members = np.array([_belongs(pair, family, results) for pair in pairs])
        for name, test in TESTS.items():
            scores = [pair.scores if member else None for pair, member in zip(pairs, members, strict=True)]
            frame[f"p_{name}_holm_{family}"] = corrected(scores, test, results[0].looks)
    if pairs:
        open_at = frame["p_t_holm_all"].ge(LEVEL)
        tests = int(frame["p_t"].notna().sum())
        words = [
            to_decide(pair.delta, tests) if within else ""
            for pair, within in zip(pairs, open_at, strict=True)
        ]
        frame["to_decide"] = words
    return frame


def _row(pair: Pair) -> dict[str, object]:
    return {
        "student": pair.method.arm.student,
        "method": pair.method.arm.method,
        "rival": pair.rival.arm.method,
        "seeds": pair.delta.n,
        "delta_mean": pair.delta.mean,
        "delta_low": pair.delta.low,
        "delta_high": pair.delta.high,
        "delta_detectable": pair.delta.detectable,
        **pair_figures(pair.delta, pair.differences),
    }


def _belongs(pair: Pair, family: str, results: Sequence[ArmResult]) -> bool:
    match family:
        case "all":
            return True
        case "best":
            best = highest(results)
            return best is not None and pair.holds(best.arm.method)
        case _:
            return pair.holds(family)


def highest(results: Sequence[ArmResult]) -> ArmResult | None:
    """The result of the highest mean accuracy, of those without added parts where there are such."""
    ranked = sorted((one for one in results if one.accuracy.n), key=lambda one: -one.accuracy.mean)
    plain = [one for one in ranked if not one.has_added_parts]
    return next(iter(plain or ranked), None)
