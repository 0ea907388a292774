"""What differs between two versions of a study: in what its arms share, and in each arm."""

from collections.abc import Mapping
from typing import Any

from lpstudy.space.method_tables import EPOCHS
from lpstudy.space.study_spec import StudySpec

LIMITS = ("hours", "cpu_hours", "gpu_hours", "money")
"""Keys of [budget] after which no trial starts."""
FREE = (
    "budget.trials",
    "budget.seeds",
    "finals.searches",
    "finals.front",
    *(f"budget.{limit}" for limit in LIMITS),
    *(f"cost.{key}" for key in ("price_per_gpu_hour", "price_per_cpu_hour", "currency")),
)
"""Keys that may change between two starts of a study."""
OF_ARMS = {"students", "methods", "imported", "published"}
"""Sections that grow with the arms, or that only the report reads."""
Definition = Mapping[str, Mapping[str, Any]]
"""An arm in its study file: `method` is its table in [methods], `student` its table in [[students]]."""


def arm_definitions(spec: StudySpec) -> dict[str, Definition]:
    """What the study file says of each arm, by the arm's name, as JSON values."""
    table = spec.model_dump(mode="json", exclude_none=True)
    students = {
        student.label: {key: value for key, value in row.items() if key != "methods"}
        for student, row in zip(spec.students, table["students"], strict=True)
    }
    methods = {
        name: {key: value for key, value in row.items() if key != EPOCHS}
        for name, row in table["methods"].items()
    }
    return {
        arm.name: {"method": methods[arm.method], "student": students[arm.student.label]}
        for arm in spec.arms()
    }


def changed_settings(old: StudySpec, new: StudySpec) -> list[str]:
    """The differences in what all arms share, one line per key; trials, seeds and hours may differ."""
    has_limit = any(one.constraints.max_latency_ms is not None for one in (old, new))
    unread = OF_ARMS | (set() if has_limit else {"cost"})  # else the limit holds where [cost] says
    before, after = (_flat(one.model_dump(mode="json", exclude=unread)) for one in (old, new))
    return _differences(
        *({key: value for key, value in one.items() if key not in FREE} for one in (before, after))
    )


def changed_arms(old: Mapping[str, Definition], new: Mapping[str, Definition]) -> list[str]:
    """The differences in the arms of both versions, one line per key; arms of one alone are no difference."""
    lines: dict[str, None] = {}
    for name in new:
        if name in old:
            lines |= dict.fromkeys(_differences(_flat_arm(name, old[name]), _flat_arm(name, new[name])))
    return list(lines)


def _flat_arm(name: str, definition: Definition) -> dict[str, object]:
    method, _, student = name.partition("-")
    return _flat(definition["method"], f"methods.{method}") | _flat(
        definition["student"], f"students.{student}"
    )


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [
        f"{key}: {before.get(key, 'nothing')} -> {after.get(key, 'nothing')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if value in ({}, []):
        return {prefix: "with its defaults"}
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = {str(i): entry for i, entry in enumerate(value)}.items()
    else:
        return {prefix: value}
    return {
        k: v for key, entry in items for k, v in _flat(entry, f"{prefix}.{key}" if prefix else key).items()
    }
