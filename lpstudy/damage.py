"""Stored values that are not as lpstudy writes them: refused in one line that names study, run and key."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

LONGEST = 160
"""Characters of a name or a reason in the line."""
LARGEST_FIGURE = 1e100
"""Of any metric; the square of one is still a number."""
FIGURES: dict[str, tuple[float, float]] = {
    "validation_accuracy": (0, 100),
    "test_accuracy": (0, 100),
    "best_validation_accuracy": (0, 100),
    "parameters": (1, 1e18),
    "macs": (1, 1e18),
    "flops": (2, 2e18),
    "auxiliary_parameters": (0, 1e18),
    "training_macs": (0, LARGEST_FIGURE),
    "teacher_macs": (0, LARGEST_FIGURE),
    "seconds": (0, LARGEST_FIGURE),
}
"""Lowest and highest value of metrics that cannot be any number."""


class UnusableError(Exception):
    """What a store says is not to be used; the message is one line."""


class DamagedError(UnusableError):
    """A stored value is not as lpstudy writes it.

    Args:
        store: Ledger or MLflow.
        study: Its name there.
        key: Of the value.
        problem: What is wrong.
        run: Whose value it is; empty for one of the whole study.
    """

    def __init__(self, store: str, study: str, key: str, problem: object, *, run: str = "") -> None:
        of_run = f" run {_short(run)}:" if run else ""
        super().__init__(f"{store}: study {_short(study)!r}:{of_run} {_short(key)}: {_short(problem)}")


def validate_strictly(model: TypeAdapter[Any], value: object) -> Any:
    """The value as a strict model gives it back.

    Raises:
        ValueError: One line: where within the value, what is wrong.
    """
    try:
        return model.validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(problem_of(error)) from None


def problem_of(error: ValidationError) -> str:
    """The first problem, after the place within the value."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = "".join(f"{str(part)[:40]}: " for part in first["loc"])
    return f"{where}{first['msg']}"


def check_figure(name: str, value: object) -> float:
    """A metric as a number within its limits.

    Raises:
        ValueError: It is none, or beyond them.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"must be a number but is {type(value).__name__}")
    low, high = FIGURES.get(name, (-LARGEST_FIGURE, LARGEST_FIGURE))
    if not low <= value <= high:  # NaN too
        raise ValueError(f"must be from {low:g} to {high:g} but is {value:g}")
    return float(value)


def check_figures(figures: Mapping[str, object]) -> None:
    """Hold each metric against its limits.

    Raises:
        ValueError: One line: the metric and what is wrong with it.
    """
    for name, value in figures.items():
        try:
            check_figure(name, value)
        except ValueError as error:
            raise ValueError(f"{_short(name)}: {error}") from None


def _short(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
