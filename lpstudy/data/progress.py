"""A progress line on standard error, where one is wanted."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from lpstudy.terminal import for_stream

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], what: str, *, total: int, progress: bool) -> Iterable[Item]:
    """The items, with a line that says how many of them are done if progress is wanted."""
    if not progress:
        return items
    from tqdm import tqdm

    pause = 1.0 if sys.stderr.isatty() else 60.0  # a log gets a line now and then
    line: Iterable[Item] = tqdm(items, desc=for_stream(what, sys.stderr), total=total, mininterval=pause)
    return line
