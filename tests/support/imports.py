"""A process without imported code, for tests that import some."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lpstudy.data.registry import LOADERS
from lpstudy.imported_names import MODULES
from lpstudy.methods import reductions
from lpstudy.methods.registry import BUILT_IN, METHODS
from lpstudy.space import imported_code
from lpstudy.students.families import CODE, FAMILIES

TABLES: tuple[dict[str, Any], ...] = (
    METHODS,
    FAMILIES,
    CODE,
    MODULES,
    LOADERS,
    reductions.REDUCTIONS,
    reductions.CODE,
    imported_code._LOADED,
)


@contextmanager
def no_imported_code() -> Iterator[None]:
    """A context that begins without imported code, whatever was imported before, and restores that."""
    before = [dict(table) for table in TABLES]
    modules, finders = _imported_modules(), list(sys.meta_path)
    _clear()
    try:
        yield
    finally:
        _clear()
        for table, earlier in zip(TABLES, before, strict=True):
            table.update(earlier)
        sys.modules.update(modules)
        sys.meta_path[:] = finders


def _clear() -> None:
    for name in _imported_modules():
        del sys.modules[name]
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, imported_code._Finder)]
    for table in TABLES:
        table.clear()
    reductions.REDUCTIONS.update(reductions.BUILT_IN)
    METHODS.update({model.model_fields["method"].default: model for model in BUILT_IN})


def _imported_modules() -> dict[str, Any]:
    return {name: module for name, module in sys.modules.items() if name.startswith(imported_code.PREFIX)}
