"""The choice of one arm, and of one of its finals, by validation accuracy: the test set chooses nothing."""

from collections.abc import Sequence

import pandas as pd

from lpstudy.tables.arms import ArmResult, mean
from lpstudy.tables.front import macs_of

MEDIAN_RULE = "the median of the seeds on validation"
"""How `choose_final` chooses; of an even number of seeds the lower one of the two in the middle."""


def choose_arm(
    results: Sequence[ArmResult],
    *,
    method: str | None = None,
    student: str | None = None,
    under_macs: float | None = None,
) -> ArmResult:
    """The arm, or design of an arm's front, whose finished finals have the highest mean validation accuracy.

    Args:
        results: The study's arms; among equals the first is taken.
        method: The name of a table of `[methods]`; None: any.
        student: The label of a student, or of a winner where sizes are searched; None: any.
        under_macs: The most multiply-accumulates of a winner's forward pass; None: any number.

    Raises:
        ValueError: The study has no such method or student, or no arm that fits has a finished final.
    """
    _check_name("method", method, [result.arm.method for result in results])
    designs = [design for result in results for design in result.designs]
    labels = [label for one in designs for label in (one.arm.student, one.winner_label)]
    _check_name("student", student, labels)
    fitting = [
        design
        for result in results
        for design in result.designs
        if method in (None, result.arm.method) and student in (None, result.arm.student, design.winner_label)
    ]
    if not fitting:
        names = ", ".join(dict.fromkeys(result.arm.name for result in results))
        raise ValueError(f"method {method!r} and student {student!r} are in no arm together; arms: {names}")
    finished = [design for design in fitting if _has_score(design)]
    if not finished:
        names = ", ".join(dict.fromkeys(result.arm.name for result in fitting))
        raise ValueError(f"no final has finished yet of {names}")
    small = [result for result in finished if under_macs is None or macs_of(result) <= under_macs]
    if not small:
        least = min(finished, key=macs_of)
        raise ValueError(
            f"no arm with a finished final has at most {under_macs:,.0f} MACs; the fewest has"
            f" {least.arm.name}, {macs_of(least):,.0f}"
        )
    return best_design(small)


def best_design(designs: Sequence[ArmResult]) -> ArmResult:
    """The one whose finished finals have the highest mean validation accuracy; among equals the first."""
    return max(designs, key=selected_accuracy)


def finished_designs(results: Sequence[ArmResult]) -> list[ArmResult]:
    """The designs of all arms with finished finals, among which one is chosen."""
    return [design for result in results for design in result.designs if _has_score(design)]


def selected_accuracy(design: ArmResult) -> float:
    """The mean validation accuracy of its finished finals, by which a student is chosen."""
    return mean(design.finished_finals["validation_accuracy"])


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
