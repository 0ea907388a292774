"""Gauges: the values that a sweep reports to other shells, each read by a thread of its own."""

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lpstudy.terminal import say
from lpstudy.threads import GuardedThread, describe_error

READ_SECONDS = 2.0
"""Seconds between two readings of a gauge."""
MAX_AGE_SECONDS = 20.0
"""Age after which a reading is no longer reported, because its gauge hangs."""
STOP_SECONDS = 1.0
"""Time for a reading to end when its gauge is removed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest value of a gauge."""

    value: Any = None
    read_at: float = -math.inf
    """Time of the reading on the monotonic clock."""


class Gauge:
    """One value that a thread reads regularly, so that a slow or failing reading delays nothing else.

    After an error the value is omitted until a later reading succeeds; the error is printed once.

    Args:
        name: The name under which the value is reported.
        read: Returns the value, fit for JSON.
        seconds: The interval between two readings.
    """

    def __init__(self, name: str, read: Callable[[], Any], seconds: float = READ_SECONDS) -> None:
        self._name, self._read, self._seconds = name, read, seconds
        self._reading = Reading()
        self._printed = False
        self._thread = GuardedThread(f"gauge {name}", self._follow, self._failed)
        self._thread.start()

    def reading(self) -> Reading:
        """The newest reading."""
        return self._reading

    def stop(self) -> None:
        """Stop reading; waits for the current reading to end."""
        self._thread.stop(STOP_SECONDS)

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            value = self._read()
            json.dumps(value)  # raises here, not in the heartbeat
            self._reading = Reading(value, time.monotonic())
            stop.wait(self._seconds)

    def _failed(self, error: BaseException) -> None:
        self._reading = Reading()
        if not self._printed:
            self._printed = True
            say(f"warning: lpstudy status lacks {self._name!r}: {describe_error(error)}")


class Gauges:
    """The gauges of a sweep; thread-safe, because the dictionary is replaced as a whole."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    def add(self, **reads: Callable[[], Any]) -> None:
        """Start gauges; a gauge of the same name is replaced."""
        for name in reads:
            self.remove(name)
        self._gauges = self._gauges | {name: Gauge(name, read) for name, read in reads.items()}

    def remove(self, *names: str) -> None:
        """Stop the gauges of these names, if they exist."""
        before = self._gauges
        self._gauges = {name: gauge for name, gauge in before.items() if name not in names}
        for name in names:
            if name in before:
                before[name].stop()

    def stop(self) -> None:
        """Stop all gauges."""
        self.remove(*self._gauges)

    def values(self) -> dict[str, Any]:
        """The recent readings by name; does not wait."""
        now = time.monotonic()
        readings = {name: gauge.reading() for name, gauge in self._gauges.items()}
        return {name: one.value for name, one in readings.items() if now - one.read_at < MAX_AGE_SECONDS}
