"""How a command ends: 0 done, 1 a fault at run time, 2 bad input in one line, 130 interrupted."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class BadInputError(Exception):
    """What the user gave cannot be done; the message is one line."""


class FaultError(Exception):
    """What was asked went wrong at run time for a reason that one line can say."""


@contextmanager
def refusing() -> Iterator[None]:
    """Within it a ValueError or an OSError is the user's to mend: it becomes a BadInputError."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise BadInputError(" ".join(str(error).split())) from error


def ending(command: str, body: Callable[[], int]) -> int:
    """Run a command's body and turn what ends it into an exit code."""
    try:
        return body()
    except BadInputError as error:
        print(f"lpstudy {command}: {error}", file=sys.stderr)
        return BAD_INPUT
    except FaultError as error:
        print(f"lpstudy {command}: {error}", file=sys.stderr)
        return FAULT
    except KeyboardInterrupt:
        print(f"lpstudy {command}: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
