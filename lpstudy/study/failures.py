"""Why a trial ends before its last epoch, in the words in which it tells so."""

import gc
import re
from collections.abc import Sequence
from contextlib import suppress

import torch

from lpstudy.disk import DiskFullError, StorageError, UnreachableError, is_storage_error, storage_error
from lpstudy.training import DivergedError
from lpstudy.training.memory import causes, memory_error, says_memory_is_full

REPORTABLE_ERRORS = (DivergedError, OSError, MemoryError, RuntimeError)
"""Errors that a trial reports itself; any other is a fault of its process, which is started again.

So is an OSError that is not the storage's, and a RuntimeError that is not the memory's: `encode_failure`."""
PAUSED = "paused"
"""The study was: the trial goes on another time."""
FULL, UNREACHABLE, BARRED = "disk full: ", "storage away: ", "storage cannot be written: "
STORAGE = (FULL, UNREACHABLE, BARRED)
"""Begins of the words for a storage that must be mended before anything goes on."""
_SIZE = re.compile(r"[Tt]ried to allocate ([\d.]+ ?\w+)")


def encode_failure(error: Exception) -> str:
    """The word for it; an error that is none of these is raised again."""
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
    said = " ".join(str(full).split())
    _forget(error)
    size = _SIZE.search(said)
    return f"oom: tried to allocate {size[1]}" if size else f"oom: {said[:200] or 'out of memory'}"


def encode_first_failure(errors: Sequence[Exception]) -> str:
    """The word for the first error that is an end; the first of all is raised where none is."""
    for error in errors:
        with suppress(Exception):  # which is the error itself
            return encode_failure(error)
    raise errors[0]


def describe_death(said: str) -> str:
    """The cause of a process's death, from the last line that is known of it."""
    return f"oom: {said}" if says_memory_is_full(said) and not said.startswith("oom:") else said


def _forget(error: Exception) -> None:
    """Give the memory back: the process, which runs the next trial, keeps it through the traceback."""
    for one in causes(error):
        one.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
