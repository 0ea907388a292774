"""The exit code and message of an error, which say whether to run the same command again."""

import errno
import os

import pytest
from sqlalchemy.exc import OperationalError

from lpstudy.command.exits import BadInputError, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.disk import StorageError
from lpstudy.ledger import StudyRunningError, UnwritableError
from lpstudy.study import PausedError, TaskError

REPEAT, MEND = "; run the same command to resume", "; fix this, then run the same command to resume"


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/studies/x")


CASES = {
    "a full disk": (system(errno.ENOSPC), 75, MEND),
    "a read-only disk": (system(errno.EROFS), 75, MEND),
    "a folder of another user": (system(errno.EACCES), 75, MEND),
    "a network file system that is away": (system(errno.ESTALE), 75, REPEAT),
    "a storage's error": (StorageError(errno.EROFS, "/studies/x: Read-only file system"), 75, MEND),
    "a locked ledger": (UnwritableError("/studies/x is locked"), 75, REPEAT),
    "a ledger on a full disk": (UnwritableError("/studies/x is full", needs_repair=True), 75, MEND),
    "a database that is away": (
        OperationalError("/studies/x", {}, Exception("/studies/x is away")),
        75,
        REPEAT,
    ),
    "bad input": (BadInputError("/studies/x"), 2, ""),
    "a fault": (FaultError("/studies/x"), 1, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_the_code_and_the_words_of_a_sweep_agree(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    error, code, words = CASES[case]

    def body() -> int:
        raise error

    assert exit_code_of("sweep", body) == code
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "/studies/x" in line
    assert words in line
    assert ("the same command" in line) == (code == 75)
    assert exit_code_of("status", body) == code
    assert "the same command" not in capsys.readouterr().err  # it pauses nothing


@pytest.mark.parametrize(
    ("error", "fresh", "status"),
    [
        (ValueError("no such key"), 2, 2),
        (StudyRunningError("is running already"), 2, 2),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 2, 2),
        (StorageError(errno.EROFS, "x: Read-only file system"), 2, 75),
        (StorageError(errno.EACCES, "x: Permission denied"), 2, 75),
        (StorageError(errno.ENOSPC, "x: No space left"), 75, 75),
        (StorageError(errno.EIO, "x: Input/output error"), 75, 75),
        (UnwritableError("is locked"), 75, 75),
    ],
)
def test_a_folder_that_cannot_be_written_is_bad_input_until_the_study_has_started(
    error: Exception, fresh: int, status: int
) -> None:
    for is_begun, code in ((False, fresh), (True, status)):

        def body(is_begun: bool = is_begun) -> int:
            with errors_as_bad_input(lambda: is_begun):
                raise error
            return 0

        assert exit_code_of("sweep", body) == code


@pytest.mark.parametrize("error", [TaskError("oom: tried to allocate 3 GB"), ValueError("not finite")])
def test_what_repetition_cannot_mend_does_not_promise_it(error: Exception) -> None:
    from lpstudy.command.faults import fault

    result = fault(error, "the teacher")
    assert (str(result), result.status) == (f"the teacher: {error}", 1)


def test_a_pause_continues() -> None:
    from lpstudy.command.faults import fault

    assert fault(PausedError("x")).status == 75
