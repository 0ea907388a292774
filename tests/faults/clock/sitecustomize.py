"""Moves the wall clock of Python processes that find this folder first, by the seconds in a file."""

import datetime
import os
import time
from pathlib import Path
from typing import Any

_file = Path(os.environ.get("LPSTUDY_TEST_CLOCK", os.devnull))
_time, _time_ns, _real = time.time, time.time_ns, datetime.datetime


def _shift() -> float:
    try:
        return float(_file.read_text() or 0)
    except OSError:
        return 0.0


class _Any(type):
    def __instancecheck__(cls, one: Any) -> bool:
        return isinstance(one, _real)

    def __subclasscheck__(cls, one: type) -> bool:
        return issubclass(one, _real)


class Shifted(_real, metaclass=_Any):
    """A datetime whose now is another one."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.now(tz) + datetime.timedelta(seconds=_shift())

    @classmethod
    def utcnow(cls) -> Any:
        return _real.utcnow() + datetime.timedelta(seconds=_shift())


time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + int(1e9 * _shift())
datetime.datetime = Shifted
