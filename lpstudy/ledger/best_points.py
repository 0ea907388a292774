"""The best points of another study for an arm's first trials."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lpstudy.ledger.reader import LedgerReader
from lpstudy.ledger.records import Record
from lpstudy.space import Arm, Scalar, check_start

Point = dict[str, Scalar]
"""Values of searched hyperparameters; the sampler chooses the others."""


@dataclass(frozen=True, slots=True)
class WarmPoints:
    """An arm's points from another study."""

    points: tuple[Point, ...]
    notes: tuple[str, ...]
    """Why there are none, or which values were skipped; one line each."""


def warm_points(arm: Arm, other: LedgerReader, *, top: int) -> WarmPoints:
    """The best different points of the same arm of another study, by validation accuracy.

    The same arm has the same method and student family; if there are several, those of the same table in
    [methods], and of these the ones of the same student. Values of hyperparameters that the arm does not
    search are left out, and so are values that its ranges do not have.

    Args:
        arm: The arm.
        other: The other study.
        top: The largest number of points.
    """
    names = _same_arms(arm, other)
    records = [one for one in other.records() if one.assignment.arm in names and _is_finished_trial(one)]
    if not records:
        reason = "has no finished trial of it" if names else "has no such arm"
        return WarmPoints((), (f"{arm.name}: {other.spec.name} {reason}",))
    records.sort(key=lambda one: -one.last["validation_accuracy"])
    points: list[Point] = []
    outside: Counter[str] = Counter()
    for record in records:
        point, skipped = _point(arm, record)
        if point and point not in (*points, *arm.start):
            points.append(point)
            outside.update(skipped)
        if len(points) == top:
            break
    return WarmPoints(tuple(points), tuple(_notes(arm, outside, has_points=bool(points))))


def _notes(arm: Arm, outside: Counter[str], *, has_points: bool) -> Iterator[str]:
    if not has_points:
        yield f"{arm.name}: no point has a value within its ranges that its own first points have not"
    for key, count in outside.items():
        values = "one value" if count == 1 else f"{count} values"
        yield f"{arm.name}: {values} of {key} skipped, as not in {arm.searched[key]}"


def _same_arms(arm: Arm, other: LedgerReader) -> set[str]:
    """The names of the arms of another study that are the same arm."""
    arms = [
        one for one in other.arms.values() if (one.loss, one.student.family) == (arm.loss, arm.student.family)
    ]
    arms = [one for one in arms if one.method == arm.method] or arms
    arms = [one for one in arms if one.student.label == arm.student.label] or arms
    return {one.name for one in arms}


def _is_finished_trial(record: Record) -> bool:
    return record.assignment.kind == "trial" and record.state == "finished"


def _point(arm: Arm, record: Record) -> tuple[Point, list[str]]:
    """The values of a trial that the arm searches and has, and the names of those that it has not."""
    point: Point = {}
    skipped = []
    for key, value in record.assignment.values.items():
        if key not in arm.searched:
            continue
        try:
            check_start([arm], key, value)
        except ValueError:
            skipped.append(key)
        else:
            point[key] = value
    return point, skipped
