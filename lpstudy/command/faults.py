"""Errors that end a command early: their remedy, exit code and message.

| remedy | error | code | advice |
|---|---|---|---|
| REPEAT | a signal, a pause, a lock, a server or store that does not answer | 75 | run the same command |
| MEND | a full or read-only disk, a folder of another user or one that is gone | 75 | fix this, then run it |
| CHANGE | weights, settings, sizes or data: the study or the machine must change | 1 | nothing |
| INPUT | the input cannot be used; nothing is started | 2 | nothing |
"""

from enum import Enum

from lpstudy.disk import DENIED_ERRNOS, UNREACHABLE_ERRNOS, is_storage_error, storage_error
from lpstudy.ledger import UNAVAILABLE_ERRORS, StudyRunningError, UnwritableError
from lpstudy.one_line import one_line

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
MLFLOW_BEHIND = 74
"""The study is done but MLflow lags behind: EX_IOERR of sysexits.h."""
PAUSED = 75
"""The study is paused and can be resumed: EX_TEMPFAIL of sysexits.h."""


class Remedy(Enum):
    """The remedy for an error."""

    REPEAT = "the same command"
    MEND = "repairing the machine, then the same command"
    CHANGE = "changing the study, its data or the machine"
    INPUT = "changing the input"


class BadInputError(Exception):
    """The user's input cannot be used; the message is one line."""


class FaultError(Exception):
    """A command failed at run time; the message is one line.

    Args:
        message: The message.
        code: The exit code.
    """

    def __init__(self, message: str, code: int = FAULT) -> None:
        super().__init__(message)
        self.status = code


CODES = {
    Remedy.REPEAT: PAUSED,
    Remedy.MEND: PAUSED,
    Remedy.CHANGE: FAULT,
    Remedy.INPUT: BAD_INPUT,
}
WORDS = {
    Remedy.REPEAT: "; run the same command to resume",
    Remedy.MEND: "; fix this, then run the same command to resume",
    Remedy.CHANGE: "",
    Remedy.INPUT: "",
}


def remedy_of(error: BaseException) -> Remedy:
    """The remedy for an error that ends a study which has started.

    Before the start, an error of the storage's permissions is bad input: see `remedy_at_start`.
    """
    from lpstudy.study import PausedError  # imports torch, which read-only commands do not need

    match error:
        case UnwritableError() if error.needs_repair:
            return Remedy.MEND
        case UnwritableError() | PausedError() | KeyboardInterrupt() | SystemExit():
            return Remedy.REPEAT
        case BadInputError() | StudyRunningError():
            return Remedy.INPUT
        case OSError() if is_storage_error(error):
            return Remedy.REPEAT if error.errno in UNREACHABLE_ERRNOS else Remedy.MEND
        case _ if isinstance(error, UNAVAILABLE_ERRORS):
            return Remedy.REPEAT
    return Remedy.CHANGE


def remedy_at_start(error: BaseException) -> Remedy:
    """The remedy for an error before a study starts, when the given names may be wrong."""
    match error:
        case OSError() if is_storage_error(error) and error.errno in DENIED_ERRNOS:
            return Remedy.INPUT
        case ValueError() | StudyRunningError():
            return Remedy.INPUT
        case OSError() if not is_storage_error(error):
            return Remedy.INPUT
    return remedy_of(error)


def message_of(error: BaseException) -> str:
    """An error's message in one line; the storage's errors include the path."""
    if isinstance(error, OSError) and is_storage_error(error):
        error = storage_error(error)
    return one_line(error)


def fault(error: BaseException, where: str = "", *, study: bool = True) -> FaultError:
    """The message and exit code of an error that ends a command.

    Args:
        error: The error.
        where: The start of the message, such as "the teacher".
        study: Whether the command runs a study, which pauses; a read-only command has nothing to resume.
    """
    remedy = remedy_of(error)
    line = f"{where}: {message_of(error)}" if where else message_of(error)
    if study and CODES[remedy] == PAUSED:
        line = f"paused: {line}{WORDS[remedy]}"
    return FaultError(line, CODES[remedy])
