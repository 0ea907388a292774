"""Checks of an arm's first points against its search space."""

from collections.abc import Sequence

from lpstudy.space.arm import Arm
from lpstudy.space.ranges import Choices, Range, Scalar


def check_start(arms: Sequence[Arm], key: str, value: Scalar) -> None:
    """Check a value of a first point: at least one of the arms searches it, and each of these has the value.

    Raises:
        ValueError: One line: what is wrong and what is allowed.
    """
    spaces = [(arm, arm.searched[key]) for arm in arms if key in arm.searched]
    if not spaces:
        searched = ", ".join(dict.fromkeys(key for arm in arms for key in arm.searched)) or "nothing"
        raise ValueError(f"is not searched; the arm searches {searched}")
    for arm, space in spaces:
        match space:
            case Choices() if not any(_same(value, choice) for choice in space.choices):
                raise ValueError(f"must be {space} but got {value!r}")
            case Range():
                if isinstance(value, bool) or not isinstance(value, int if arm.integer(key) else int | float):
                    kind = "a whole number" if arm.integer(key) else "a number"
                    raise ValueError(f"must be {kind} but got {value!r}")
                if not space.contains(value):
                    raise ValueError(f"must be one of {space} but got {value!r}")


def _same(one: Scalar, other: Scalar) -> bool:
    """Whether two values are the same and of one type: 1 is not true."""
    return type(one) is type(other) and one == other
