"""The tables of [methods] in a study file: an arm's method, its hyperparameters, its first points."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from lpstudy.imported_names import is_reference
from lpstudy.methods import METHODS, Distillation, method_at
from lpstudy.methods.soft_targets import FeatureMethod
from lpstudy.space.ranges import (
    Fixed,
    Scalar,
    Searchable,
    check_corners,
    list_element,
    read_list,
    read_searchable,
)

ARM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
"""Pattern of a table's name in [methods], which is part of the names of folders and runs."""
METHOD = "method"
"""The key by which a table of [methods] with a free name names its method."""
START = "start"
"""The key of an arm's first points."""
COMPUTE_OF = "compute_of"
"""The key that names another table of [methods], whose training MACs a longer training spends."""
EPOCHS = "epochs"
"""The key with the epochs that follow from COMPUTE_OF, by the student's label: lpstudy fills it in."""
TABLE_KEYS = (METHOD, START, COMPUTE_OF, EPOCHS)
"""Keys of a table of [methods] that are no hyperparameters."""
COMMON_KEYS = tuple(Distillation.model_fields)
"""The hyperparameters that every method has, and its name."""


def read_methods(tables: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """The tables of [methods]: hyperparameters fixed or searched, `method` where the name is free, `start`.

    Raises:
        ValueError: One line: table, key, what is wrong and what is allowed.
    """
    loss_of = {name: _loss_of(str(name), table) for name, table in tables.items()}
    methods: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        loss = loss_of[name]
        try:
            methods[name] = _read_method(loss, table) | ({METHOD: loss} if loss != name else {})
            _check_compute(name, methods[name], tables)
        except ValueError as error:
            separator = "." if isinstance(table, Mapping) else ": "
            raise ValueError(f"{name}{separator}{error}") from None
    return methods


def hyperparameters_of(table: Mapping[str, Any]) -> dict[str, Searchable]:
    """The hyperparameters in a table of [methods]."""
    return {key: value for key, value in table.items() if key not in TABLE_KEYS}


def _loss_of(name: str, table: object) -> str:
    """The name in METHODS of the method of a table in [methods]."""
    loss = table.get(METHOD, name) if isinstance(table, Mapping) else name
    if isinstance(loss, str) and is_reference(loss):
        try:
            loss = method_at(loss)
        except ValueError as error:
            raise ValueError(f"{name}.{METHOD}: {error}") from None
        if loss == name:  # which the table may say once more
            return loss
    if not isinstance(loss, str) or loss not in METHODS:
        problem = f"{name}: unknown method" if loss == name else f"{name}.{METHOD}: unknown method {loss!r}"
        raise ValueError(
            f"{problem}; known are {', '.join(METHODS)}; a table of another name needs method = ...,"
            " a method of one's own --import FILE"
        )
    if name in METHODS and isinstance(table, Mapping) and METHOD in table:
        raise ValueError(
            f"{name}.{METHOD}: is the name of the table; leave it out, or give the table another one"
        )
    if not ARM_NAME.fullmatch(name):
        raise ValueError(f"{name!r:.40}: must be a letter and at most 31 more letters, digits and _")
    return loss


def default_hyperparameters(loss: str, table: Mapping[str, Searchable]) -> dict[str, Fixed]:
    """The default hyperparameters of a method; those of soft targets only where the table weighs them.

    Without those that all methods share, where the table leaves them out: they change nothing then.
    """
    model = METHODS[loss]
    defaults = model.model_validate({}).model_dump(exclude={*COMMON_KEYS}, exclude_none=True)
    if not issubclass(model, FeatureMethod):
        return defaults
    soft_targets = {key: defaults.pop(key) for key in FeatureMethod.model_fields if key not in COMMON_KEYS}
    return defaults | (soft_targets if table.get("kd_weight") else {})


def _read_method(loss: str, table: object) -> dict[str, Any]:
    start: object = None
    compute_keys: dict[str, Any] = {}
    if isinstance(table, Mapping):
        start = table.get(START)
        compute_keys = {key: table[key] for key in (COMPUTE_OF, EPOCHS) if key in table}
        table = hyperparameters_of(table)
    values = read_table(METHODS[loss], table)
    if "kd_temperature" in values and not values.get("kd_weight"):
        raise ValueError("kd_temperature: has no effect without kd_weight")
    return values | compute_keys | ({} if start is None else {START: _read_start(start)})


def _check_compute(name: str, table: Mapping[str, Any], tables: Mapping[str, object]) -> None:
    """Check that a table spends the compute of another one, which is trained as long as the budget says.

    Raises:
        ValueError: One line: key, what is wrong and what is allowed.
    """
    if COMPUTE_OF not in table:
        if EPOCHS in table:
            raise ValueError(f"{EPOCHS}: unknown key; {COMPUTE_OF} = ... computes the epochs of an arm")
        return
    other, loss = table[COMPUTE_OF], table.get(METHOD, name)
    if METHODS[loss].model_validate({}).reads_teacher:
        raise ValueError(f"{COMPUTE_OF}: {loss} learns from the teacher itself; it is for bp")
    trained = [key for key, one in tables.items() if not (isinstance(one, Mapping) and COMPUTE_OF in one)]
    if other not in trained:
        raise ValueError(f"{COMPUTE_OF}: must be one of {', '.join(trained)} but got {other!r}")
    epochs = table.get(EPOCHS, {})
    if not isinstance(epochs, Mapping) or not all(
        isinstance(count, int) and count > 0 for count in epochs.values()
    ):
        raise ValueError(f"{EPOCHS}: must be whole numbers above 0 but got {epochs!r}")


def _read_start(points: object) -> tuple[dict[str, Scalar], ...]:
    """An arm's first points, each a table of plain values."""
    if not isinstance(points, list | tuple) or not all(isinstance(point, Mapping) for point in points):
        raise ValueError(f"{START}: must be a list of tables, as [{{ weight = 9.0 }}], but got {points!r}")
    for number, point in enumerate(points):
        for key, value in point.items():
            if not isinstance(value, Scalar):
                raise ValueError(f"{START}.{number}.{key}: must be a plain value but got {value!r}")
        if not point or point in points[:number]:
            problem = "is given twice" if point else "must have a hyperparameter"
            raise ValueError(f"{START}.{number}: {problem}")
    return tuple(dict(point) for point in points)


def read_table(model: type[BaseModel], table: object) -> dict[str, Searchable]:
    """A table of searchable keys, whose ends the model takes.

    Raises:
        ValueError: One line: key, what is wrong and what is allowed.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"must be a table but got {table!r}")
    values: dict[str, Searchable] = {}
    for key, value in table.items():
        try:
            element = list_element(model, key)
            values[key] = read_list(value, element) if element else read_searchable(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    check_corners(model, values)
    return values
