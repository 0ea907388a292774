"""What the report of a study cannot say, whatever its runs give."""

from collections.abc import Iterator

from lpstudy.space import StudySpec

ENOUGH_SEEDS = 5
"""From which the spread of seeds is known well enough: the t quantile is 2.8, of two seeds it is 12.7."""


def missing_claims(spec: StudySpec) -> Iterator[str]:
    """One line for each thing that the study lacks for a claim.

    Args:
        spec: The study as it would run.
    """
    seeds = spec.budget.seeds
    if len(spec.methods) == 1:
        yield f"one method alone ({', '.join(spec.methods)}): nothing is compared with anything"
    elif "bp" not in spec.methods:
        yield "no [methods.bp]: no difference to plain back-prop can be told"
    if seeds == 1:
        yield (
            "one seed: no interval and no difference beyond noise can be told;"
            f" --seeds {ENOUGH_SEEDS} or more would"
        )
    elif seeds < 3:
        yield (
            "two seeds: next to nothing is known of their spread, most differences cannot be told from noise;"
            f" --seeds {ENOUGH_SEEDS} or more would"
        )
    searched = [student.label for student in spec.students if student.searched]
    if searched and len(spec.methods) > 1:
        yield (
            f"depth or width of {', '.join(searched)} is searched: winners of other sizes are not compared"
            " with each other, and none of the trials is pruned"
        )
