"""A limit of seconds for calls into Ray, which hear no signal while they wait."""

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
"""After a signal, until a process that has not reacted is ended."""
POLL_SECONDS = 0.2
Abandon = Callable[[BaseException], int]
"""Prints why the process ends and returns the exit code."""


@contextmanager
def time_limit(seconds: float, reason: str, abandon: Abandon) -> Iterator[None]:
    """End the process from another thread where the body takes longer, or does not react to a signal.

    For the main thread, before anything is held that must be released. Signals are read from Python's
    wakeup descriptor, which is written to although no handler runs.

    Args:
        seconds: For the body.
        reason: Of a ValueError that is handed to `abandon` where they are over; for a signal it is
            KeyboardInterrupt or SystemExit.
        abandon: Called in the other thread, before the process is ended.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch(stop: threading.Event) -> None:
        until, error = time.monotonic() + seconds, ValueError(reason)
        cause: BaseException = error
        while time.monotonic() < until:
            if stop.is_set():
                return
            if select.select([reader], [], [], POLL_SECONDS)[0]:
                numbers = set(reader.recv(64)) & {signal.SIGINT, signal.SIGTERM}
                if numbers and cause is error:
                    cause = KeyboardInterrupt() if signal.SIGINT in numbers else SystemExit(signal.SIGTERM)
                    until = min(until, time.monotonic() + SIGNAL_SECONDS)
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
