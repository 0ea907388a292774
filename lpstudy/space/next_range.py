"""The range to search next where the best value of a hyperparameter lies at an end of its range."""

import math
from collections.abc import Iterator, Sequence

from lpstudy.space.arm import Arm
from lpstudy.space.ranges import Range, corners
from lpstudy.space.start import check_start
from lpstudy.space.student_space import STUDENT_KEYS, StudentSpace
from lpstudy.space.training import Training
from lpstudy.user_lines import user_code_error

_SHIFTS = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""Parts of the range's width, on its own scale, by which it is moved; the first that is allowed is taken."""


def next_range(arms: Sequence[Arm], key: str, *, upwards: bool) -> Range | None:
    """The range moved beyond one of its ends; None where the hyperparameter goes no further.

    It is as wide as the old one, whose end lies in its middle; less far where the hyperparameter's own
    bounds, the batch size or the student forbid it. The other end stays where a first point asks for that.

    Args:
        arms: The arms that have the range from one place in the study file, see `sharing`.
        key: A hyperparameter that they search.
        upwards: Whether the best value lies at the high end.
    """
    space = arms[0].searched[key]
    if not isinstance(space, Range) or space.low == space.high:
        return None
    moved = (_moved(space, share, arms[0].integer(key), upwards) for share in _SHIFTS)
    candidates = (candidate for pair in moved for candidate in pair if candidate is not None)
    return next((one for one in candidates if all(_is_allowed(arm, key, one) for arm in arms)), None)


def section_of(arm: Arm, key: str) -> str:
    """The table of the study file that has a hyperparameter's range: training, students or methods.<name>."""
    if key in arm.student.searched:
        return "students"
    return "training" if key in Training.model_fields else f"methods.{arm.method}"


def sharing(arm: Arm, key: str, arms: Sequence[Arm]) -> list[Arm]:
    """The arms that have a hyperparameter's range from the same place in the study file."""
    section = section_of(arm, key)
    of_student = section == "students"
    return [
        one
        for one in arms
        if key in one.searched
        and section_of(one, key) == section
        and not (of_student and one.student != arm.student)
    ]


def _moved(space: Range, share: float, integer: bool, upwards: bool) -> tuple[Range | None, Range | None]:
    """The range moved by a share of its width; and the one that reaches as far, but keeps the other end."""
    by = share if upwards else -share
    if space.log:
        factor = (space.high / space.low) ** by
        ends = [_rounded(end * factor, end * factor, integer) for end in (space.low, space.high)]
    elif integer or space.step is not None:
        grid = space.step or 1
        steps = max(1, round(share * (space.high - space.low) / grid)) * (1 if upwards else -1)
        ends = [round(end + steps * grid, 10) for end in (space.low, space.high)]
    else:
        width = space.high - space.low
        ends = [_rounded(end + by * width, width, integer) for end in (space.low, space.high)]
    longer = (space.low, ends[1]) if upwards else (ends[0], space.high)
    return _range(space, (ends[0], ends[1])), _range(space, longer)


def _rounded(value: float, scale: float, integer: bool) -> int | float:
    """The value with two figures of the scale's size; a whole number for an integer."""
    return round(value) if integer else round(value, 1 - math.floor(math.log10(scale)))


def _range(space: Range, ends: tuple[float, float]) -> Range | None:
    try:
        return Range(low=ends[0], high=ends[1], log=space.log, step=space.step)
    except ValueError:  # an end of a log range that is not above 0
        return None


def _is_allowed(arm: Arm, key: str, space: Range) -> bool:
    """Whether the study file may have the range in the place of the arm's own."""
    try:
        if key in STUDENT_KEYS:
            sizes = {**arm.student.model_dump(exclude_none=True), **arm.student.searched, key: space}
            changed = arm.model_copy(update={"student": StudentSpace.model_validate(sizes)})
        else:
            changed = arm.model_copy(update={"hyperparameters": {**arm.hyperparameters, key: space}})
            for values in corners(changed.searched):
                run = changed.resolve(values, epochs=1, seed=0)
                run.method.check(batch_size=run.training.batch_size)
        for point in arm.start:
            if key in point:
                check_start([changed], key, point[key])
    except ValueError:
        return False
    except Exception as error:  # of any kind: a method of one's own checks its hyperparameters too
        if user_code_error(error) is None:
            raise
        return False
    return True


def toml_words(space: Range, *, integer: bool) -> str:
    """The range as a study file writes it: { low = 0.1, high = 10, log = true }."""
    return ", ".join(_entries(space, integer)).join(("{ ", " }"))


def _entries(space: Range, integer: bool) -> Iterator[str]:
    for name, value in (("low", space.low), ("high", space.high), ("step", space.step)):
        if value is not None:
            yield f"{name} = {int(value) if integer else format(value, 'g')}"
    if space.log:
        yield "log = true"
