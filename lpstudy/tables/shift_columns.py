"""The columns of accuracies on shifted test images in the frame of runs."""

from collections.abc import Iterable

from lpstudy.damage import SHIFT
from lpstudy.data.shifts import ShiftName


def shift_names(names: Iterable[str]) -> list[str]:
    """Those names that are shifts', in the report's order."""
    parts = {name: ShiftName.of(name) for name in names}
    known = {name: found for name, found in parts.items() if found is not None}
    return sorted(known, key=lambda name: known[name].rank)


def shift_columns(columns: Iterable[str]) -> list[str]:
    """Those columns that are accuracies in percent on shifted images, in the report's order."""
    names = shift_names(one.removeprefix(SHIFT) for one in columns if one.startswith(SHIFT))
    return [f"{SHIFT}{name}" for name in names]
