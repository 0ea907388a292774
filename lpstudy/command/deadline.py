"""A watchdog that ends a sweep which does not end by itself in time."""

import os
import signal
import threading
import time
from collections.abc import Callable

from lpstudy.study import StudyControl
from lpstudy.threads import GuardedThread

POLL_SECONDS = 0.5
HARD_SECONDS = 5.0
"""Time after the trials' deadline until the main thread is interrupted, because Ray may hang."""
EXIT_SECONDS = 20.0
"""Time after the interrupt until the process is ended: a call into Ray may not react to signals."""


class Deadline:
    """A watchdog thread that interrupts a sweep's overdue main thread, and finally ends the process.

    Args:
        control: The study's current request, with the trials' deadline.
        exit_process: Ends the process at once; called if the interrupt has no effect.
    """

    def __init__(self, control: StudyControl, exit_process: Callable[[], None]) -> None:
        self._control, self._exit = control, exit_process
        self.is_disarmed = False
        """Whether only the results remain to be written, so that the main thread is not interrupted."""
        self._interrupted_at: float | None = None
        self._thread = GuardedThread("deadline", self._watch, control.fail_thread("deadline"))

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._thread.stop(2 * POLL_SECONDS)

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(POLL_SECONDS):
            now, control = time.monotonic(), self._control
            if self._interrupted_at is not None:
                if now - self._interrupted_at >= EXIT_SECONDS:
                    self._exit()
            elif control.current.is_exit and control.is_overdue(HARD_SECONDS) and not self.is_disarmed:
                self.is_disarmed, self._interrupted_at = True, now
                os.kill(os.getpid(), signal.SIGINT)
