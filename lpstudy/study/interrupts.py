"""The signals that end a study, and Ray."""

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
def held_back() -> Iterator[None]:
    """Within it SIGINT and SIGTERM wait for its end, where this process has handlers of its own for them.

    Ray forks when it starts, and what a handler raises within a hook of a fork is lost: Python reports and
    drops it, and the signal is forgotten. Ray's own handler of SIGTERM, which raises too, is not set. A
    later signal does not wait.

    Source: `os.register_at_fork`; `set_sigterm_handler` in ray/_private/utils.py, Ray 2.60.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    own = {number: handler for number, handler in handlers.items() if callable(handler)}
    heard: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if heard:
            raise KeyboardInterrupt
        heard.append(number)

    heed = debounced(wait)
    with patch.object(utils, "set_sigterm_handler") if signal.SIGTERM in own else nullcontext():
        for number in own:
            signal.signal(number, heed)
        try:
            yield
        finally:
            for number, handler in own.items():
                signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


class _Apart(services.ConsolePopen):
    """A process that Ray starts."""

    def __init__(self, *args: Any, **words: Any) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it inherits that
        try:
            super().__init__(*args, start_new_session=True, **words)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def terminate(self) -> None:
        """With all that it has started, by SIGKILL: SIGTERM would wait for ever."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


@contextmanager
def apart() -> Iterator[None]:
    """Within it Ray starts processes that signals to this one's group, or to all of a user's, do not end.

    timeout(1) and `kill -- -GROUP` signal a group, systemd and a machine that shuts down all processes: Ray's
    head and the trials would end before these have written their checkpoints. They end with this process,
    even at SIGKILL: Ray asks Linux for that. Elsewhere, where Ray ends them as a group, they stay in this
    one's. Ray keeps SIGINT from them itself.

    Source: `start_ray_process` in ray/_private/services.py, Ray 2.60.
    """
    on_linux = sys.platform == "linux"
    with patch.object(services, "ConsolePopen", _Apart) if on_linux else nullcontext():
        yield
