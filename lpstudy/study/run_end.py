"""How a run ends before its last epoch."""

import gc
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum

import torch

from lpstudy.disk import DiskFullError, StorageError, UnreachableError, is_storage_error, storage_error
from lpstudy.one_line import one_line
from lpstudy.training import DivergedError
from lpstudy.training.memory import causes, memory_error, says_memory_is_full
from lpstudy.user_lines import UserCodeError

REPORTABLE_ERRORS = (DivergedError, OSError, MemoryError, RuntimeError)
"""Errors that a run reports itself; any other error is a fault of its process, which is restarted.

So are an OSError that is not the storage's and a RuntimeError that is not the memory's, see `end_of`.
"""
_SIZE = re.compile(r"[Tt]ried to allocate ([\d.]+ ?\w+)")


class EndKind(StrEnum):
    """Why a run ends early; the ledger stores the first two failures under these words."""

    DIVERGED = "nan"
    OUT_OF_MEMORY = "oom"
    PAUSED = "paused"
    DISK_FULL = "disk full"
    UNREACHABLE = "storage unreachable"
    UNWRITABLE = "storage not writable"


STORAGE_KINDS = frozenset({EndKind.DISK_FULL, EndKind.UNREACHABLE, EndKind.UNWRITABLE})


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The early end of a run that its process reports itself."""

    kind: EndKind
    message: str = ""

    @property
    def cause(self) -> str:
        """The end in words, as the ledger and the reports have it."""
        return f"{self.kind}: {self.message}" if self.message else str(self.kind)

    @property
    def is_pause(self) -> bool:
        """Whether the study was paused, so that the run resumes later."""
        return self.kind is EndKind.PAUSED

    @property
    def is_of_storage(self) -> bool:
        """Whether a storage must be repaired before the study resumes."""
        return self.kind in STORAGE_KINDS

    def to_json(self) -> str:
        """The end as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "RunEnd":
        """The end from its JSON."""
        row = json.loads(text)
        return cls(EndKind(row["kind"]), row["message"])


PAUSE = RunEnd(EndKind.PAUSED)
"""The end of a run whose study is paused."""


def end_of(error: Exception) -> RunEnd:
    """The end that an error causes; an error that is the fault of its process is raised again."""
    match error:
        case DivergedError():
            return RunEnd(EndKind.DIVERGED, str(error))
        case UnreachableError():
            return RunEnd(EndKind.UNREACHABLE, str(error))
        case DiskFullError():
            return RunEnd(EndKind.DISK_FULL, str(error))
        case StorageError():
            return RunEnd(EndKind.UNWRITABLE, str(error))
        case OSError() if is_storage_error(error):
            return end_of(storage_error(error))
    full = memory_error(error)
    if full is None:
        raise error
    message = one_line(str(full))
    _forget(error)
    size = _SIZE.search(message)
    reason = f"tried to allocate {size[1]}" if size else message[:200] or "out of memory"
    return RunEnd(EndKind.OUT_OF_MEMORY, reason)


def first_end(errors: Sequence[Exception]) -> RunEnd:
    """The end that the first error with one causes; if none has, the first error is raised."""
    for error in errors:
        with suppress(Exception):  # which is the error itself
            return end_of(error)
    raise errors[0]


def describe_death(message: str) -> str:
    """The cause of a process's death, from the last line of its error message; imported code's as it says."""
    message = message.rpartition(f"{UserCodeError.__name__}: ")[2]
    if says_memory_is_full(message) and not message.startswith(f"{EndKind.OUT_OF_MEMORY}:"):
        return RunEnd(EndKind.OUT_OF_MEMORY, message).cause
    return message


def _forget(error: Exception) -> None:
    """Free the memory that the error's traceback holds: the process runs the next trial."""
    for one in causes(error):
        one.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
