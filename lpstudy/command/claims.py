"""Warnings about claims that a study's design cannot support."""

from collections.abc import Iterator

from lpstudy.seed_range import looks_of
from lpstudy.space import StudySpec

ENOUGH_SEEDS = 5
"""Seeds whose spread is known well enough: the t quantile is 2.8, for two seeds it is 12.7."""


def missing_claims(spec: StudySpec) -> Iterator[str]:
    """Warnings about what the study lacks for a claim, one line each.

    Args:
        spec: The study with its overrides.
    """
    seeds = looks_of(spec.budget.seeds)[-1]
    if len(spec.methods) == 1:
        yield f"one method alone ({', '.join(spec.methods)}): there is nothing to compare it with"
    elif "bp" not in spec.methods:
        yield "no [methods.bp]: no method is compared with plain back-prop"
    if seeds == 1:
        yield (
            "one seed: no interval, and no difference that can be distinguished from noise;"
            f" use --seeds {ENOUGH_SEEDS} or more"
        )
    elif seeds < 3:
        yield (
            "two seeds: their spread is hardly known, most differences cannot be distinguished from noise;"
            f" use --seeds {ENOUGH_SEEDS} or more"
        )
    searched = [student.label for student in spec.students if student.searched]
    if searched and len(spec.methods) > 1:
        yield (
            f"depth or width of {', '.join(searched)} is searched: winners of other sizes are not compared"
            " with each other; the report has the front of each arm"
        )
