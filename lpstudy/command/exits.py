"""How a command ends, and the exit code that says so."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lpstudy import environment
from lpstudy.command.faults import (
    BAD_INPUT,
    DONE,
    FAULT,
    INTERRUPTED,
    MLFLOW_BEHIND,
    PAUSED,
    BadInputError,
    FaultError,
    Remedy,
    at_start,
    fault,
    message_of,
)
from lpstudy.damage import UnusableError
from lpstudy.disk import StorageError
from lpstudy.ledger import UNAVAILABLE_ERRORS, StudyRunningError, UnwritableError
from lpstudy.redaction import without_credentials
from lpstudy.signals import debounced
from lpstudy.terminal import say, single_line

__all__ = [
    "BAD_INPUT",
    "DONE",
    "EXITS",
    "FAULT",
    "INTERRUPTED",
    "MLFLOW_BEHIND",
    "PAUSED",
    "TERMINATED",
    "BadInputError",
    "FaultError",
    "errors_as_bad_input",
    "exit_code_of",
    "leaving_at_signals",
]
EXITS = (
    f"exit codes: {DONE} done, or ended by lpstudy stop or cancel; {FAULT} a fault at run time; {BAD_INPUT}"
    f" bad input (one line says what); {MLFLOW_BEHIND} done, but MLflow lags behind: run lpstudy reconcile;"
    f" {PAUSED} paused (one line says why), {INTERRUPTED} interrupted by Ctrl-C: run the same command to"
    " resume"
)
TERMINATED = "terminated (SIGTERM)"


@contextmanager
def errors_as_bad_input(begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Within it an error is the user's to mend, a BadInputError, or a FaultError where it may pass by itself.

    Args:
        begun: Whether the study has begun already: then a folder that cannot be written was right before, and
            the study pauses.
    """
    try:
        yield
    except (ValueError, OSError, StudyRunningError, UnwritableError) as error:
        barred = isinstance(error, StorageError) and begun()
        if not barred and at_start(error) is Remedy.INPUT:
            raise BadInputError(message_of(error)) from error
        raise fault(error, study=barred) from error


@contextmanager
def leaving_at_signals() -> Iterator[None]:
    """Within it SIGTERM raises `SystemExit`, as a handler does that Ray sets when it starts.

    What raises at SIGINT still does. Either is heard once where it comes twice at the same time.
    """
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, debounced(lambda number, frame: sys.exit(number)))
    }
    if callable(interrupt := signal.getsignal(signal.SIGINT)):
        before[signal.SIGINT] = signal.signal(signal.SIGINT, debounced(interrupt))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code_of(command: str, body: Callable[[], int]) -> int:
    """Run a command's body, with variables that can be used, and turn what ends it into an exit code."""
    try:
        with errors_as_bad_input():
            environment.normalize_variables()
        return body()
    except BadInputError as error:
        _say(command, error)
        return BAD_INPUT
    except FaultError as error:
        _say(command, error)
        return error.status
    except UnusableError as error:
        _say(command, error)
        return FAULT
    except (UnwritableError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        left = fault(error, study=command == "sweep")
        if left.status == FAULT:
            raise
        _say(command, left)
        return left.status
    except UNAVAILABLE_ERRORS as error:
        first = (str(getattr(error, "orig", None) or error).strip() or type(error).__name__).splitlines()[0]
        locked = UnwritableError(f"the ledger cannot be used now: {first}")
        _say(command, fault(locked, study=command == "sweep"))
        return PAUSED
    except KeyboardInterrupt:
        say(f"lpstudy {command}: interrupted; run the same command to resume")
        return INTERRUPTED
    except SystemExit as left:
        if left.args != (signal.SIGTERM,):
            raise
        say(f"lpstudy {command}: {TERMINATED}; run the same command to resume")
        return PAUSED


def _say(command: str, error: Exception) -> None:
    """One line without credentials that came with a name or an address."""
    say(f"lpstudy {command}: {single_line(without_credentials(str(error)))}")
