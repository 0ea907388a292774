"""How a command ends, and the exit code that says so."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lpstudy import environment
from lpstudy.disk import FULL, DiskFullError
from lpstudy.ledger import UNAVAILABLE, HeldError, UnwritableError
from lpstudy.redaction import without_credentials
from lpstudy.signals import once
from lpstudy.terminal import say, single_line

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
BEHIND = 74
"""All is done but MLflow lacks some of it: EX_IOERR of sysexits.h."""
PAUSED = 75
"""To be started again: EX_TEMPFAIL of sysexits.h."""
EXITS = (
    f"exit codes: {DONE} done, or ended by lpstudy stop or cancel; {FAULT} a fault at run time; {BAD_INPUT}"
    f" bad input (one line says what); {BEHIND} done, but MLflow lags behind (lpstudy reconcile mends it);"
    f" {PAUSED} paused, {INTERRUPTED} interrupted by Ctrl-C: the same command goes on"
)
TERMINATED = "asked to end (SIGTERM)"


class BadInputError(Exception):
    """What the user gave cannot be done; the message is one line."""


class FaultError(Exception):
    """What was asked went wrong at run time for a reason that one line can say.

    Args:
        message: The line.
        code: With which to leave.
    """

    def __init__(self, message: str, code: int = FAULT) -> None:
        super().__init__(message)
        self.status = code


@contextmanager
def refusing() -> Iterator[None]:
    """Within it a ValueError or an OSError is the user's to mend: it becomes a BadInputError.

    A full disk or a ledger that cannot be written is a FaultError: the same command goes on afterwards.
    """
    try:
        yield
    except (ValueError, OSError, HeldError) as error:
        if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in FULL):
            raise FaultError(str(error), PAUSED) from error
        raise BadInputError(" ".join(str(error).split())) from error
    except UnwritableError as error:
        raise FaultError(str(error), PAUSED) from error


@contextmanager
def leaving_at_signals() -> Iterator[None]:
    """Within it SIGTERM raises `SystemExit`, as a handler does that Ray sets when it starts.

    What raises at SIGINT still does. Either is heard once where it comes twice at the same time.
    """
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, once(lambda number, frame: sys.exit(number)))}
    if callable(interrupt := signal.getsignal(signal.SIGINT)):
        before[signal.SIGINT] = signal.signal(signal.SIGINT, once(interrupt))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending(command: str, body: Callable[[], int]) -> int:
    """Run a command's body, with variables that can be used, and turn what ends it into an exit code."""
    try:
        with refusing():
            environment.settle()
        return body()
    except BadInputError as error:
        _say(command, error)
        return BAD_INPUT
    except FaultError as error:
        _say(command, error)
        return error.status
    except (UnwritableError, DiskFullError) as error:
        _say(command, error)
        return PAUSED
    except UNAVAILABLE as error:
        first = (str(getattr(error, "orig", None) or error).strip() or type(error).__name__).splitlines()[0]
        _say(command, FaultError(f"the ledger cannot be used now: {first}; the same command goes on"))
        return PAUSED
    except KeyboardInterrupt:
        say(f"lpstudy {command}: interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    except SystemExit as left:
        if left.args != (signal.SIGTERM,):
            raise
        say(f"lpstudy {command}: {TERMINATED}; the same command goes on")
        return PAUSED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _say(command: str, error: Exception) -> None:
    """One line without credentials that came with a name or an address."""
    say(f"lpstudy {command}: {single_line(without_credentials(str(error)))}")
