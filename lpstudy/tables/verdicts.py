"""What may be said of the differences between methods: Holm's correction over the methods of a student."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from lpstudy.tables.arms import ArmResult, baseline_of
from lpstudy.tables.intervals import LEVEL, Interval, holm, interval


@dataclass(frozen=True, slots=True)
class Verdict:
    """An arm's winner against another's of the same student."""

    of: ArmResult
    against: ArmResult | None
    """None where there is none: the arm is the baseline itself, or the study has none."""
    delta: Interval
    """In percentage points, not corrected; n is 0 where nothing is compared."""
    p_value: float
    """As Holm corrects it; NaN where there is no test."""
    tests: int
    """How many methods the correction is made for."""

    @property
    def beyond_noise(self) -> bool:
        """Whether a difference may be claimed."""
        return isfinite(self.p_value) and self.p_value < LEVEL

    @property
    def better(self) -> bool:
        """Whether it may be said that the arm is the better one."""
        return self.beyond_noise and self.delta.mean > 0

    @property
    def worse(self) -> bool:
        """Whether it may be said that the arm is the worse one."""
        return self.beyond_noise and self.delta.mean < 0

    @property
    def within_noise(self) -> bool:
        """Whether a test was made and found nothing."""
        return isfinite(self.p_value) and not self.beyond_noise

    @property
    def other_size(self) -> bool:
        """Whether there are results of both, but of networks of different sizes."""
        other = self.against
        return (
            other is not None
            and bool(self.of.accuracy.n and other.accuracy.n)
            and self.of.design != other.design
        )


def verdicts(results: Sequence[ArmResult]) -> list[Verdict]:
    """Each arm against back-prop with the same student, in their order."""
    found: dict[str, Verdict] = {}
    for student in dict.fromkeys(result.arm.student for result in results):
        own = [result for result in results if result.arm.student == student]
        pairs = [(result, baseline_of(result, own)) for result in own]
        found |= {verdict.of.arm.name: verdict for verdict in _judged(pairs)}
    return [found[result.arm.name] for result in results]


def leads(best: ArmResult, rivals: Iterable[ArmResult]) -> list[Verdict]:
    """An arm against each of the others."""
    return _judged([(best, rival) for rival in rivals])


def is_best(result: ArmResult, results: Iterable[ArmResult]) -> bool:
    """Whether an arm may be called the best with its student: better than every other one, by Holm's test.

    One that is of another size, is not done yet or shares fewer than two seeds is not beaten. One without a
    result, for all of its runs have failed, is no rival.
    """
    own = [one for one in results if one.arm.student == result.arm.student and not one.failed]
    if not all(one.accuracy.mean <= result.accuracy.mean for one in own if one.accuracy.n):
        return False
    rivals = [one for one in own if one.arm.name != result.arm.name]
    found = leads(result, rivals)
    over_baseline = [one for one in verdicts(own) if one.of.arm.name == result.arm.name and one.tests]
    return bool(found) and all(verdict.better for verdict in (*found, *over_baseline) if verdict.against)


def _judged(pairs: Sequence[tuple[ArmResult, ArmResult | None]]) -> list[Verdict]:
    deltas = [interval([]) if other is None else one.difference(other) for one, other in pairs]
    adjusted = holm([delta.p_value for delta in deltas])
    tests = sum(map(isfinite, adjusted))
    return [
        Verdict(one, other, delta, p, tests)
        for (one, other), delta, p in zip(pairs, deltas, adjusted, strict=True)
    ]
