"""What ends a command early: whether the same command can mend it, its exit code and words.

| remedy | what | code | what is said of it |
|---|---|---|---|
| REPEAT | a signal, a pause, a lock, a server or store that does not answer | 75 | run the same command |
| MEND | a full or read-only disk, a folder of another user or one that is gone | 75 | fix this, then run it |
| CHANGE | weights, settings, sizes or data: the study or the machine must change | 1 | nothing |
| INPUT | the input cannot be used; nothing is started | 2 | nothing |
"""

from enum import Enum

from lpstudy.disk import DENIED_ERRNOS, UNREACHABLE_ERRNOS, is_storage_error, storage_error
from lpstudy.ledger import UNAVAILABLE_ERRORS, StudyRunningError, UnwritableError

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
MLFLOW_BEHIND = 74
"""All is done but MLflow lacks some of it: EX_IOERR of sysexits.h."""
PAUSED = 75
"""To be started again: EX_TEMPFAIL of sysexits.h."""


class Remedy(Enum):
    """What helps against a fault."""

    REPEAT = "the same command"
    MEND = "mending the machine, then the same command"
    CHANGE = "changing the study, its data or the machine"
    INPUT = "giving something else"


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
    """What helps against an error that ends a study which has begun.

    Before that, what the storage does not allow is bad input: see `at_start`.
    """
    from lpstudy.study import PausedError  # with Ray, which commands that only look do without

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


def at_start(error: BaseException) -> Remedy:
    """What helps against an error before a study has begun: here the names that were given may be wrong."""
    match error:
        case OSError() if is_storage_error(error) and error.errno in DENIED_ERRNOS:
            return Remedy.INPUT
        case ValueError() | StudyRunningError():
            return Remedy.INPUT
        case OSError() if not is_storage_error(error):
            return Remedy.INPUT
    return remedy_of(error)


def message_of(error: BaseException) -> str:
    """One line of what went wrong, with the path of a storage's error."""
    if isinstance(error, OSError) and is_storage_error(error):
        error = storage_error(error)
    return " ".join(str(error).split())


def fault(error: BaseException, where: str = "", *, study: bool = True) -> FaultError:
    """The line and the exit code for an error that ends a command.

    Args:
        error: It.
        where: Begins the line: "the teacher".
        study: Whether a study pauses by it; a command that only looks does not.
    """
    remedy = remedy_of(error)
    line = f"{where}: {message_of(error)}" if where else message_of(error)
    if study and CODES[remedy] == PAUSED:
        line = f"paused: {line}{WORDS[remedy]}"
    return FaultError(line, CODES[remedy])
