"""A time limit for calls into Ray, which do not react to signals while they wait."""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lpstudy.threads import GuardedThread

SIGNAL_SECONDS = 3.0
"""Time for the process to react to a signal before it is ended."""
POLL_SECONDS = 0.2
Abandon = Callable[[BaseException], int]
"""A function that prints why the process ends and returns the exit code."""


@contextmanager
def time_limit(seconds: float, reason: str, abandon: Abandon) -> Iterator[None]:
    """End the process from another thread if the body exceeds the limit or does not react to a signal.

    Use it in the main thread, before acquiring anything that must be released. Signals are read from Python's
    wakeup descriptor, which is written to even while no handler can run.

    Args:
        seconds: The limit.
        reason: The message of the ValueError that `abandon` receives at the limit; after a signal, it
            receives KeyboardInterrupt or SystemExit.
        abandon: Called in the other thread, before the process ends.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch(stop: threading.Event) -> None:
        deadline, error = time.monotonic() + seconds, ValueError(reason)
        cause: BaseException = error
        while time.monotonic() < deadline:
            if stop.is_set():
                return
            if select.select([reader], [], [], POLL_SECONDS)[0]:
                numbers = set(reader.recv(64)) & {signal.SIGINT, signal.SIGTERM}
                if numbers and cause is error:
                    cause = KeyboardInterrupt() if signal.SIGINT in numbers else SystemExit(signal.SIGTERM)
                    deadline = min(deadline, time.monotonic() + SIGNAL_SECONDS)
        if not stop.is_set():
            os._exit(abandon(cause))

    def failed(error: BaseException) -> None:
        os._exit(abandon(error))

    thread = GuardedThread("time limit", watch, failed)
    thread.start()
    try:
        yield
    finally:
        thread.stop(2 * POLL_SECONDS)
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()
