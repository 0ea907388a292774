"""The errors of the Python API, from those of the commands."""

from collections.abc import Iterator
from contextlib import contextmanager

from lpstudy.command.exits import INTERRUPTED, BadInputError, FaultError, errors_as_bad_input


class StudyStoppedError(RuntimeError):
    """A study stopped early; the message is one line, and says how to resume where that is possible."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """A context in which bad input is a `ValueError` and a study that stops a `StudyStoppedError`."""
    try:
        yield
    except BadInputError as error:
        raise ValueError(str(error)) from error
    except FaultError as error:
        if error.status == INTERRUPTED:
            raise KeyboardInterrupt(str(error)) from error
        raise StudyStoppedError(str(error)) from error


@contextmanager
def plain_input_errors() -> Iterator[None]:
    """A context in which whatever is wrong with the input is a `ValueError` of one line."""
    with plain_errors(), errors_as_bad_input():
        yield
