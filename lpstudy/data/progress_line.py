"""A progress line on standard error."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from lpstudy.terminal import for_stream, in_notebook

Item = TypeVar("Item")


def with_progress(
    items: Iterable[Item], what: str, *, total: int | None, progress: bool, delay: float = 0.0
) -> Iterable[Item]:
    """The items; where `progress` is true, a line shows how many of them are done, after `delay` seconds."""
    if not progress:
        return items
    from tqdm.auto import tqdm

    interval = 1.0 if sys.stderr.isatty() or in_notebook() else 60.0  # a log gets few lines
    what = for_stream(what, sys.stderr)
    line: Iterable[Item] = tqdm(items, desc=what, total=total, mininterval=interval, delay=delay)
    return line
