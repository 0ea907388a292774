"""The comparisons of a student's methods that found no difference, and whether more seeds can find one."""

from collections.abc import Sequence
from dataclasses import replace

from lpstudy.seed_range import spending
from lpstudy.tables.arms import BASELINE, ArmResult
from lpstudy.tables.deciding_seeds import needed_seeds
from lpstudy.tables.intervals import LEVEL
from lpstudy.tables.pairs import highest
from lpstudy.tables.verdicts import Verdict, is_best, leads_over, verdicts


def leads_over_methods(best: ArmResult, results: Sequence[ArmResult]) -> list[Verdict]:
    """The `leads_over` the methods other than back-prop."""
    leads = leads_over(best, [one for one in results if one.arm.name != best.arm.name and not one.has_failed])
    return [one for one in leads if one.rival is not None and one.rival.arm.method != BASELINE]


def unclear_rivals(best: ArmResult, results: Sequence[ArmResult]) -> list[Verdict]:
    """The comparisons of the highest mean with methods other than back-prop that found no difference."""
    unclear = [one for one in leads_over_methods(best, results) if one.is_within_noise]
    return sorted(unclear, key=lambda one: one.delta.mean)


def open_comparisons(results: Sequence[ArmResult]) -> list[Verdict]:
    """What is undecided between the methods of one student.

    Each method against back-prop, and the highest mean against the other methods, unless it is the best.
    """
    undecided = [one for one in verdicts(results) if one.is_within_noise]
    best = highest(results)
    if best is None or best.arm.method == BASELINE or is_best(best, results):
        return undecided
    return undecided + unclear_rivals(best, results)


def may_decide(verdict: Verdict, looks: Sequence[int]) -> bool:
    """Whether the seeds of the last look may decide an open comparison, at the spread of the present ones.

    They may where they find the largest difference that the 95 % interval allows, in 80 % of studies, at the
    share of the error that the last look has. To answer False never raises the error: it only ends the
    search for a difference.
    """
    delta = verdict.delta
    largest = max(abs(delta.low), abs(delta.high))
    seeds = needed_seeds(replace(delta, mean=largest), LEVEL * spending(looks)[-1] / max(1, verdict.tests))
    return seeds is not None and seeds <= looks[-1]
