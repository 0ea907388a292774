"""Threads that always report their errors."""

import threading
from collections.abc import Callable

from lpstudy.one_line import one_line
from lpstudy.terminal import say

RESTART_SECONDS = 1.0
"""Time between an error and the restart of its thread."""


class GuardedThread:
    """A daemon thread that reports every exception of its body and restarts the body.

    `threading` prints a traceback for an error in a thread, ignores `SystemExit`, and the program continues
    without the thread. Every thread that lpstudy starts itself is a GuardedThread instead.

    Args:
        name: The thread's name.
        body: The thread's work. It returns once the event is set; a return ends the thread.
        on_error: Called in the thread with every exception of the body.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[threading.Event], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._body, self._on_error = body, on_error
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread has started and not ended."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait at most so many seconds for the body to return by itself."""
        self._thread.join(seconds)

    def stop(self, seconds: float) -> bool:
        """Set the event and wait at most so many seconds; returns whether the thread has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                return self._body(self._stop)
            except BaseException as error:  # SystemExit and KeyboardInterrupt too
                self._report(error)
            if self._stop.wait(RESTART_SECONDS):
                return

    def _report(self, error: BaseException) -> None:
        try:
            self._on_error(error)
        except BaseException as second:
            words = f"{describe_error(error)}; then {describe_error(second)}"
            say(f"warning: thread {self._thread.name}: {words}")


def describe_error(error: BaseException) -> str:
    """An error's type and message in one line of at most 300 characters."""
    name, message = type(error).__name__, one_line(error)
    return name if message == name else f"{name}: {message}"[:300]
