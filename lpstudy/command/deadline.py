"""The end of a sweep that does not end by itself."""

import os
import signal
import threading
import time
from collections.abc import Callable

from lpstudy.study import StudyControl
from lpstudy.threads import GuardedThread

POLL_SECONDS = 0.5
HARD_SECONDS = 5.0
"""After the trials' time, until the main thread is interrupted: Ray may hang."""
EXIT_SECONDS = 20.0
"""After that interrupt, until the process is ended from this thread: a call into Ray hears no signal."""


class Deadline:
    """Interrupts the main thread of a sweep that is to leave and does not; at last ends the process.

    Args:
        control: Says whether the process is to leave, and until when its trials have time.
        exit_process: Ends the process at once; called where the interrupt has not helped.
    """

    def __init__(self, control: StudyControl, exit_process: Callable[[], None]) -> None:
        self._control, self._exit = control, exit_process
        self.is_disarmed = False
        """Whether all that remains is to write the results: no interrupt any more."""
        self._interrupted_at: float | None = None
        self._thread = GuardedThread("deadline", self._watch, control.fail_thread("deadline"))

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
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
