"""Text codes for the reasons why a trial ends before its last epoch."""

import gc
import re
from collections.abc import Sequence
from contextlib import suppress

import torch

from lpstudy.disk import DiskFullError, StorageError, UnreachableError, is_storage_error, storage_error
from lpstudy.one_line import one_line
from lpstudy.training import DivergedError
from lpstudy.training.memory import causes, memory_error, says_memory_is_full

REPORTABLE_ERRORS = (DivergedError, OSError, MemoryError, RuntimeError)
"""Errors that a trial reports itself; any other error is a fault of its process, which is restarted.

So are an OSError that is not the storage's and a RuntimeError that is not the memory's, see `encode_failure`.
"""
PAUSED = "paused"
"""The study was paused; the trial resumes later."""
FULL, UNREACHABLE, BARRED = "disk full: ", "storage unreachable: ", "storage not writable: "
STORAGE = (FULL, UNREACHABLE, BARRED)
"""Prefixes of the codes for a storage that must be fixed before the study resumes."""
_SIZE = re.compile(r"[Tt]ried to allocate ([\d.]+ ?\w+)")


def encode_failure(error: Exception) -> str:
    """The text code of an error; an error that has none is raised again."""
    match error:
        case DivergedError():
            return f"nan: {error}"
        case UnreachableError():
            return f"{UNREACHABLE}{error}"
        case DiskFullError():
            return f"{FULL}{error}"
        case StorageError():
            return f"{BARRED}{error}"
        case OSError() if is_storage_error(error):
            return encode_failure(storage_error(error))
    full = memory_error(error)
    if full is None:
        raise error
    message = one_line(str(full))
    _forget(error)
    size = _SIZE.search(message)
    return f"oom: tried to allocate {size[1]}" if size else f"oom: {message[:200] or 'out of memory'}"


def encode_first_failure(errors: Sequence[Exception]) -> str:
    """The code of the first error that has one; if none has, the first error is raised."""
    for error in errors:
        with suppress(Exception):  # which is the error itself
            return encode_failure(error)
    raise errors[0]


def describe_death(message: str) -> str:
    """The cause of a process's death, from the last line of its error message."""
    return f"oom: {message}" if says_memory_is_full(message) and not message.startswith("oom:") else message


def _forget(error: Exception) -> None:
    """Free the memory that the error's traceback holds: the process runs the next trial."""
    for one in causes(error):
        one.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
