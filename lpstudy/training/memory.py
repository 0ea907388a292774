"""Errors that say that memory is full: the machine's, or a GPU's."""

import re
from collections.abc import Iterator

_FULL = re.compile(
    r"can't allocate memory|not enough memory|out of memory|OutOfMemory|std::bad_alloc"
    r"|cudaErrorMemoryAllocation|\b(CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CUFFT|NVRTC|NCCL)_\w*ALLOC\w*FAILED",
    re.IGNORECASE,
)
"""The words of torch, CUDA and its libraries, which torch passes on where they find the card full."""


def says_memory_is_full(words: str) -> bool:
    """Whether the words of an error are those of memory that is full."""
    return _FULL.search(words) is not None


def memory_error(error: BaseException) -> BaseException | None:
    """The error, or the one while handling which it was raised, that says that memory is full.

    A CUDA graph whose recording runs out of memory ends in another error than that.
    """
    return next((one for one in causes(error) if _is_full(one)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, the one that it came of, and so on; each once."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        found = found.__cause__ or found.__context__


def _is_full(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or says_memory_is_full(str(error))
