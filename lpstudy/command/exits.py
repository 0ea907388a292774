"""The exit codes of the commands, and the handlers that turn errors and signals into them."""

import os
import signal
import sys
import threading
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
    fault,
    message_of,
    remedy_at_start,
)
from lpstudy.damage import UnusableError
from lpstudy.disk import StorageError
from lpstudy.ledger import UNAVAILABLE_ERRORS, StudyRunningError, UnwritableError, driver_message
from lpstudy.redaction import without_credentials
from lpstudy.signals import debounced
from lpstudy.terminal import printable_line, say

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
def errors_as_bad_input(is_resumed: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """A context that turns errors into BadInputError, or into FaultError if they may pass by themselves.

    Args:
        is_resumed: Whether the study has already started: then a folder that cannot be written was valid
            before, and the study pauses.
    """
    try:
        yield
    except (ValueError, OSError, StudyRunningError, UnwritableError) as error:
        pauses = isinstance(error, StorageError) and is_resumed()
        if not pauses and remedy_at_start(error) is Remedy.INPUT:
            raise BadInputError(message_of(error)) from error
        raise fault(error, study=pauses) from error


@contextmanager
def leaving_at_signals() -> Iterator[None]:
    """A context in which SIGTERM raises `SystemExit`, as Ray's own handler does.

    In a thread other than the main one signals stay as they are, because Python handles them in the main
    one. The handler of SIGINT stays. A signal that arrives twice at the same time is handled once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
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
    """Run a command's body with checked environment variables, and turn its end into an exit code."""
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
        failure = fault(error, study=command == "sweep")
        if failure.status == FAULT:
            raise
        _say(command, failure)
        return failure.status
    except UNAVAILABLE_ERRORS as error:
        locked = UnwritableError(f"the ledger cannot be used now: {driver_message(error)}")
        _say(command, fault(locked, study=command == "sweep"))
        return PAUSED
    except KeyboardInterrupt:
        say(f"lpstudy {command}: interrupted; run the same command to resume")
        return INTERRUPTED
    except SystemExit as error:
        if error.args != (signal.SIGTERM,):
            raise
        say(f"lpstudy {command}: {TERMINATED}; run the same command to resume")
        return PAUSED


def _say(command: str, error: Exception) -> None:
    """Print an error in one line, without credentials from names or addresses."""
    say(f"lpstudy {command}: {printable_line(without_credentials(str(error)))}")
