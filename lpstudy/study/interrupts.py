"""Protection of Ray's start and of its processes from the signals that end a study."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any
from unittest.mock import patch

from ray._private import services, utils

from lpstudy.signals import debounced


@contextmanager
def defer_signals() -> Iterator[None]:
    """A context that delays SIGINT and SIGTERM to its end, where this process has its own handlers for them.

    Ray forks when it starts, and Python reports and drops an exception that a handler raises within a hook of
    a fork, so the signal would be lost. Ray's own handler of SIGTERM, which raises too, is not installed. A
    second signal is not delayed.

    Source: `os.register_at_fork`; `set_sigterm_handler` in ray/_private/utils.py, Ray 2.60.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    own_handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    received: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    handler = debounced(wait)
    with patch.object(utils, "set_sigterm_handler") if signal.SIGTERM in own_handlers else nullcontext():
        for number in own_handlers:
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number, own_handler in own_handlers.items():
                signal.signal(number, own_handler)
    if received:
        signal.raise_signal(received[0])


class _ProcessInOwnSession(services.ConsolePopen):
    """A child process of Ray in a session of its own, with SIGTERM blocked."""

    def __init__(self, *args: Any, **words: Any) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it inherits that
        try:
            super().__init__(*args, start_new_session=True, **words)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def terminate(self) -> None:
        """Kill the process and its children by SIGKILL, because SIGTERM is blocked."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


@contextmanager
def own_sessions() -> Iterator[None]:
    """A context in which Ray's child processes survive signals to this process's group or user.

    timeout(1) and `kill -- -GROUP` signal a group; systemd and a machine that shuts down signal all of them.
    Ray's head and the trials would end before the trials have written their checkpoints. They still end with
    this process, even at SIGKILL: Ray asks Linux for that. On other systems Ray ends them as a group, so they
    stay in this process's group. Ray itself protects them from SIGINT.

    Source: `start_ray_process` in ray/_private/services.py, Ray 2.60.
    """
    on_linux = sys.platform == "linux"
    with patch.object(services, "ConsolePopen", _ProcessInOwnSession) if on_linux else nullcontext():
        yield
