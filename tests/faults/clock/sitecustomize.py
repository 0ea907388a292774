"""Moves the wall clock of Python processes that find this folder first, by the seconds in a file."""

import datetime
import os
import sys
import time
from pathlib import Path
from typing import Any

_file = Path(os.environ.get("LPSTUDY_TEST_CLOCK", os.devnull))
_time, _time_ns = time.time, time.time_ns


def _shift() -> float:
    try:
        return float(_file.read_text() or 0)
    except OSError:
        return 0.0


class Shifted(datetime.datetime):
    """A datetime whose now is another one."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return datetime.datetime.now(tz) + datetime.timedelta(seconds=_shift())


time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + int(1e9 * _shift())
if "lpstudy.sweep" in sys.orig_argv:  # the ledger's times of begin and end are Optuna's
    import optuna.storages._in_memory
    import optuna.storages._rdb.storage

    for module in (optuna.storages._in_memory, optuna.storages._rdb.storage):
        assert module.datetime is datetime.datetime
        module.datetime = Shifted
