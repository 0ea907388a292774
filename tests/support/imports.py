"""A process without imported code, for tests that import some."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lpstudy.data.registry import LOADERS
from lpstudy.distill import METHODS
from lpstudy.space import imported_code
from lpstudy.students.families import CODE, FAMILIES


@contextmanager
def no_imported_code() -> Iterator[None]:
    """A context from which no imported code remains."""
    modules = {name: module for name, module in sys.modules.items() if name.startswith(imported_code.PREFIX)}
    tables: list[dict[str, Any]] = [METHODS, FAMILIES, CODE, LOADERS, imported_code._LOADED]
    before, finders = [dict(table) for table in tables], list(sys.meta_path)
    try:
        yield
    finally:
        for table, earlier in zip(tables, before, strict=True):
            table.clear()
            table.update(earlier)
        for name in [name for name in sys.modules if name.startswith(imported_code.PREFIX)]:
            if name not in modules:
                del sys.modules[name]
        sys.meta_path[:] = finders
