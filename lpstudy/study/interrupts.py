"""The signals that end a study, while Ray starts."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from unittest.mock import patch

from ray._private import utils


@contextmanager
def held_back() -> Iterator[None]:
    """Within it SIGINT and SIGTERM wait for its end, where this process has handlers of its own for them.

    Ray forks when it starts, and what a handler raises within a hook of a fork is lost: Python reports and
    drops it, and the signal is forgotten. Ray's own handler of SIGTERM, which raises too, is not set. A
    second signal does not wait.

    Source: `os.register_at_fork`; `set_sigterm_handler` in ray/_private/utils.py, Ray 2.60.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    own = {number: handler for number, handler in handlers.items() if callable(handler)}
    heard: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if heard:
            raise KeyboardInterrupt
        heard.append(number)

    with patch.object(utils, "set_sigterm_handler") if signal.SIGTERM in own else nullcontext():
        for number in own:
            signal.signal(number, wait)
        try:
            yield
        finally:
            for number, handler in own.items():
                signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])
