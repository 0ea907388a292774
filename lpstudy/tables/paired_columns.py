"""The figures of a paired difference beside its mean and interval."""

from collections.abc import Sequence

from lpstudy.tables.deciding_seeds import to_decide
from lpstudy.tables.intervals import Interval
from lpstudy.tables.looks import corrected, permutation_test
from lpstudy.tables.paired_tests import bca_interval, outperforming, sign_flip_p_value
from lpstudy.tables.verdicts import Verdict

FIGURES = (
    "p_t",
    "p_permutation",
    "bca_low",
    "bca_high",
    "outperforms",
    "outperforms_low",
    "outperforms_high",
)
"""The names of `pair_figures`."""
PAIRED_COLUMNS = (
    *(f"delta_bp_{name}" for name in FIGURES),
    "delta_bp_p_permutation_holm",
    "delta_bp_to_decide",
)
"""The figures of the difference to back-prop, Holm's p-value of the permutation test, and what would decide
a difference that is within noise."""


def pair_figures(delta: Interval, differences: Sequence[float]) -> dict[str, float]:
    """The figures of one difference, none of them corrected.

    They are p-values of the t and the sign-flip test, the bounds of a bootstrap interval, and P(A > B) with
    its interval.

    Args:
        delta: The mean difference in percentage points.
        differences: The differences, seed by seed.
    """
    low, high = bca_interval(differences, delta.beyond_seeds())
    wins = outperforming(differences)
    p_values = (delta.p_value, sign_flip_p_value(differences))
    return dict(zip(FIGURES, (*p_values, low, high, wins.mean, wins.low, wins.high), strict=True))


def paired_columns(verdicts: Sequence[Verdict]) -> list[dict[str, object]]:
    """`PAIRED_COLUMNS` of each verdict on a method against back-prop; empty where nothing is compared."""
    rows: list[dict[str, object]] = []
    students: dict[str, list[int]] = {}
    for place, one in enumerate(verdicts):
        if not one.delta.n:
            rows.append({})
            continue
        figures = pair_figures(one.delta, one.seed_differences)
        row: dict[str, object] = {f"delta_bp_{name}": value for name, value in figures.items()}
        if one.is_within_noise:
            row["delta_bp_to_decide"] = to_decide(one.delta, one.tests)
        rows.append(row)
        students.setdefault(one.result.arm.student, []).append(place)
    for places in students.values():
        pairs = [verdicts[place].scores for place in places]
        looks = verdicts[places[0]].result.looks
        for place, p in zip(places, corrected(pairs, permutation_test, looks), strict=True):
            rows[place]["delta_bp_p_permutation_holm"] = p
    return rows
