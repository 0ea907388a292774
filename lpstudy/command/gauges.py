"""What a sweep reports of itself to other shells: gauges, each read by a thread of its own."""

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
"""Between two readings of a gauge."""
OLD_SECONDS = 20.0
"""After which a reading is no longer reported: its gauge hangs."""
STOP_SECONDS = 1.0
"""For a reading to end when its gauge is removed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A gauge's newest value."""

    value: Any = None
    read_at: float = -math.inf
    """On the monotonic clock."""


class Gauge:
    """One value, read again and again by a thread: whatever it takes or raises, nobody waits for it.

    An error leaves the value out until a later reading succeeds, and is printed once.

    Args:
        name: Under which the value is reported.
        read: Returns the value, fit for JSON.
        seconds: Between two readings.
    """

    def __init__(self, name: str, read: Callable[[], Any], seconds: float = READ_SECONDS) -> None:
        self._name, self._read, self._seconds = name, read, seconds
        self._reading = Reading()
        self._printed = False
        self._thread = GuardedThread(f"gauge {name}", self._follow, self._failed)
        self._thread.start()

    def reading(self) -> Reading:
        """The newest."""
        return self._reading

    def stop(self) -> None:
        """Read no more; waits for a reading that is under way."""
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
    """The gauges of a sweep. All threads may call it: the dictionary is replaced as a whole."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    def add(self, **reads: Callable[[], Any]) -> None:
        """Start gauges; one of the same name is replaced."""
        for name in reads:
            self.remove(name)
        self._gauges = self._gauges | {name: Gauge(name, read) for name, read in reads.items()}

    def remove(self, *names: str) -> None:
        """Stop gauges, those that exist."""
        before = self._gauges
        self._gauges = {name: gauge for name, gauge in before.items() if name not in names}
        for name in names:
            if name in before:
                before[name].stop()

    def stop(self) -> None:
        """Stop all gauges."""
        self.remove(*self._gauges)

    def values(self) -> dict[str, Any]:
        """The readings that are fresh, by name; never waits."""
        now = time.monotonic()
        readings = {name: gauge.reading() for name, gauge in self._gauges.items()}
        return {name: one.value for name, one in readings.items() if now - one.read_at < OLD_SECONDS}
