"""The choice of one arm, and of one of its finals, by validation accuracy: the test set chooses nothing."""

from collections.abc import Sequence

import pandas as pd

from lpstudy.tables.arms import ArmResult, mean, number

MEDIAN_RULE = "the median of the seeds on validation"
"""How `choose_final` chooses; of an even number of seeds the lower one of the two in the middle."""


def choose_arm(
    results: Sequence[ArmResult],
    *,
    method: str | None = None,
    student: str | None = None,
    under_macs: float | None = None,
) -> ArmResult:
    """The arm whose finished finals have the highest mean validation accuracy.

    Args:
        results: The study's arms; among equals the first is taken.
        method: The name of a table of `[methods]`; None: any.
        student: The label of a student, or of a winner where sizes are searched; None: any.
        under_macs: The most multiply-accumulates of a winner's forward pass; None: any number.

    Raises:
        ValueError: The study has no such method or student, or no arm that fits has a finished final.
    """
    _check_name("method", method, [result.arm.method for result in results])
    labels = [label for result in results for label in (result.arm.student, result.winner_label)]
    _check_name("student", student, labels)
    fitting = [
        result
        for result in results
        if method in (None, result.arm.method) and student in (None, result.arm.student, result.winner_label)
    ]
    if not fitting:
        names = ", ".join(dict.fromkeys(result.arm.name for result in results))
        raise ValueError(f"method {method!r} and student {student!r} are in no arm together; arms: {names}")
    finished = [result for result in fitting if _has_score(result)]
    if not finished:
        names = ", ".join(result.arm.name for result in fitting)
        raise ValueError(f"no final has finished yet of {names}")
    small = [result for result in finished if under_macs is None or _macs(result) <= under_macs]
    if not small:
        least = min(finished, key=_macs)
        raise ValueError(
            f"no arm with a finished final has at most {under_macs:,.0f} MACs; the fewest has"
            f" {least.arm.name}, {_macs(least):,.0f}"
        )
    return max(small, key=lambda result: mean(result.finished_finals["validation_accuracy"]))


def choose_final(result: ArmResult, seed: int | None = None) -> "pd.Series":
    """The finished final of an arm's winner whose validation accuracy is the median of them.

    Of an even number it is the lower one of the two in the middle; among equals the one of the lower seed.

    Args:
        result: The arm.
        seed: The seed of the final to take instead.

    Returns:
        The final's row, with the columns `RUN_COLUMNS`.

    Raises:
        ValueError: The arm has no finished final, or none of this seed.
    """
    finals = result.finished_finals
    if seed is not None:
        chosen = finals[finals["seed"].eq(seed)]
        if chosen.empty:
            seeds = ", ".join(str(one) for one in sorted(finals["seed"])) or "none"
            raise ValueError(f"{result.arm.name} has no finished final of seed {seed}; seeds: {seeds}")
        return chosen.iloc[0]
    scored = finals[finals["validation_accuracy"].notna()]
    if scored.empty:
        raise ValueError(f"no final of {result.arm.name} has finished yet")
    ranked = scored.sort_values(["validation_accuracy", "seed"], kind="stable")
    return ranked.iloc[(len(ranked) - 1) // 2]


def _check_name(kind: str, name: str | None, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        raise ValueError(f"the study has no {kind} {name!r}; it has {', '.join(dict.fromkeys(names))}")


def _has_score(result: ArmResult) -> bool:
    return bool(result.finished_finals["validation_accuracy"].notna().any())


def _macs(result: ArmResult) -> float:
    return number(result.winner["macs"]) if result.winner is not None else number(None)
