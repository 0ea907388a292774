"""Tests of the differences between methods, with Holm's correction over the methods of a student."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

from lpstudy.tables.arms import BASELINE, ArmResult, baseline_of
from lpstudy.tables.intervals import LEVEL, Interval, interval
from lpstudy.tables.looks import corrected, t_test
from lpstudy.tables.scores import Scores


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison of an arm's winner with another arm's of the same student."""

    result: ArmResult
    rival: ArmResult | None
    """The other arm; None for the baseline itself and in a study without one."""
    delta: Interval
    """The difference in percentage points, not corrected; n is 0 where nothing is compared."""
    p_value: float
    """The p-value with Holm's correction; NaN where there is no test."""
    tests: int
    """The number of tests in the correction."""

    @property
    def seed_differences(self) -> list[float]:
        """The differences in percentage points, seed by seed; none where nothing is compared."""
        if self.rival is None or not self.delta.n:
            return []
        return self.result.scores.seed_differences(self.rival.scores)

    @property
    def scores(self) -> tuple[Scores, Scores] | None:
        """The scores of both; None where nothing is compared."""
        if self.rival is None or not self.delta.n:
            return None
        return self.result.scores, self.rival.scores

    @property
    def is_beyond_noise(self) -> bool:
        """Whether a difference may be claimed."""
        return isfinite(self.p_value) and self.p_value < LEVEL

    @property
    def is_better(self) -> bool:
        """Whether it may be said that the arm is the better one."""
        return self.is_beyond_noise and self.delta.mean > 0

    @property
    def is_worse(self) -> bool:
        """Whether it may be said that the arm is the worse one."""
        return self.is_beyond_noise and self.delta.mean < 0

    @property
    def is_within_noise(self) -> bool:
        """Whether a test found no difference."""
        return isfinite(self.p_value) and not self.is_beyond_noise

    @property
    def differs_in_size(self) -> bool:
        """Whether both arms have results, but of networks of different sizes."""
        other = self.rival
        return (
            other is not None
            and bool(self.result.accuracy.n and other.accuracy.n)
            and self.result.design != other.design
        )


def verdicts(results: Sequence[ArmResult], baseline: str = BASELINE) -> list[Verdict]:
    """Each arm against back-prop, or another method, with the same student, in their order."""
    by_arm: dict[str, Verdict] = {}
    for student in dict.fromkeys(result.arm.student for result in results):
        own = [result for result in results if result.arm.student == student]
        pairs = [(result, baseline_of(result, own, baseline)) for result in own]
        by_arm |= {verdict.result.arm.name: verdict for verdict in _corrected_verdicts(pairs)}
    return [by_arm[result.arm.name] for result in results]


def verdicts_against(best: ArmResult, rivals: Iterable[ArmResult]) -> list[Verdict]:
    """An arm's comparison with each of its rivals."""
    return _corrected_verdicts([(best, rival) for rival in rivals])


def leads_over(best: ArmResult, rivals: Sequence[ArmResult]) -> list[Verdict]:
    """The same for an arm that was picked by its mean: corrected over all pairs of it and its rivals."""
    pairs = [(best, rival) for rival in rivals] + list(combinations(rivals, 2))
    return _corrected_verdicts(pairs)[: len(rivals)]


def is_best(result: ArmResult, results: Iterable[ArmResult]) -> bool:
    """Whether an arm may be called the best with its student: better than every other one, by Holm's test.

    One that is of another size, is not done yet or shares fewer than two seeds is not beaten. One without a
    result, for all of its runs have failed, is no rival.
    """
    own = [one for one in results if one.arm.student == result.arm.student and not one.has_failed]
    if not all(one.accuracy.mean <= result.accuracy.mean for one in own if one.accuracy.n):
        return False
    rivals = [one for one in own if one.arm.name != result.arm.name]
    leads = verdicts_against(result, rivals)
    over_baseline = [one for one in verdicts(own) if one.result.arm.name == result.arm.name and one.tests]
    return bool(leads) and all(verdict.is_better for verdict in (*leads, *over_baseline) if verdict.rival)


def _corrected_verdicts(pairs: Sequence[tuple[ArmResult, ArmResult | None]]) -> list[Verdict]:
    deltas = [interval([]) if other is None else one.difference(other) for one, other in pairs]
    scores = [
        None if other is None or not delta.n else (one.scores, other.scores)
        for (one, other), delta in zip(pairs, deltas, strict=True)
    ]
    adjusted = corrected(scores, t_test, pairs[0][0].looks if pairs else ())
    tests = sum(map(isfinite, adjusted))
    return [
        Verdict(one, other, delta, p, tests)
        for (one, other), delta, p in zip(pairs, deltas, adjusted, strict=True)
    ]
