"""Errors for damaged values in ledger or MLflow, in one line that names study, run and key."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lpstudy.one_line import one_line
from lpstudy.spending import SPENDING, STEP_SECONDS

MAX_CHARACTERS = 160
"""Maximum number of characters of a name or reason in the message."""
LARGEST_FIGURE = 1e100
"""Largest value of a metric, whose square is still a finite number."""
FIGURES: dict[str, tuple[float, float]] = {
    "validation_accuracy": (0, 100),
    "test_accuracy": (0, 100),
    "test_balanced_accuracy": (0, 100),
    "test_top5_accuracy": (0, 100),
    "test_ece": (0, 100),
    "test_nll": (0, LARGEST_FIGURE),
    "test_brier": (0, 2),
    "test_agreement": (0, 100),
    "test_teacher_kl": (0, LARGEST_FIGURE),
    "best_validation_accuracy": (0, 100),
    "parameters": (1, 1e18),
    "macs": (1, 1e18),
    "flops": (2, 2e18),
    "auxiliary_parameters": (0, 1e18),
    "auxiliary_bytes": (0, 1e18),
    "loss_macs": (0, 1e18),
    "teacher_bytes": (0, 1e18),
    "training_macs": (0, LARGEST_FIGURE),
    "teacher_macs": (0, LARGEST_FIGURE),
    "seconds": (0, LARGEST_FIGURE),
    STEP_SECONDS: (0, LARGEST_FIGURE),
    **dict.fromkeys(SPENDING, (0, LARGEST_FIGURE)),
}
"""The lowest and highest value of metrics with a limited range."""


SHIFT = "shift_"
"""What the names of accuracies on shifted test images begin with."""


class UnusableError(Exception):
    """The content of a store cannot be used; the message is one line."""


class DamagedError(UnusableError):
    """A stored value is not as lpstudy writes it.

    Args:
        store: The store, ledger or MLflow.
        study: The study's name in the store.
        key: The key of the value.
        problem: The problem with the value.
        run: The run that the value belongs to; empty for a value of the whole study.
    """

    def __init__(self, store: str, study: str, key: str, problem: object, *, run: str = "") -> None:
        of_run = f" run {_short(run)}:" if run else ""
        super().__init__(f"{store}: study {_short(study)!r}:{of_run} {_short(key)}: {_short(problem)}")


def validate_strictly(model: TypeAdapter[Any], value: object) -> Any:
    """The value, validated by a strict pydantic model.

    Raises:
        ValueError: In one line, the place within the value and the problem.
    """
    try:
        return model.validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(problem_of(error)) from None


def problem_of(error: ValidationError) -> str:
    """The first validation error as text: its place within the value and the problem."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = "".join(f"{str(part)[:40]}: " for part in first["loc"])
    return f"{where}{first['msg']}"


def check_figure(name: str, value: object) -> float:
    """A metric as a number within its limits.

    Raises:
        ValueError: It is not a number, or beyond its limits.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"must be a number but is {type(value).__name__}")
    low, high = FIGURES.get(name, (0, 100) if name.startswith(SHIFT) else (-LARGEST_FIGURE, LARGEST_FIGURE))
    if not low <= value <= high:  # NaN too
        raise ValueError(f"must be from {low:g} to {high:g} but is {value:g}")
    return float(value)


def check_figures(figures: Mapping[str, object]) -> None:
    """Check each metric against its limits.

    Raises:
        ValueError: In one line, the metric and the problem.
    """
    for name, value in figures.items():
        try:
            check_figure(name, value)
        except ValueError as error:
            raise ValueError(f"{_short(name)}: {error}") from None


def _short(text: object) -> str:
    line = one_line(text)
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}..."
