"""Recognition of errors that mean that memory is full, a machine's or a GPU's."""

import re
from collections.abc import Iterator

_FULL = re.compile(
    r"can't allocate memory|not enough memory|out of memory|OutOfMemory|std::bad_alloc"
    r"|cudaErrorMemoryAllocation|\b(CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CUFFT|NVRTC|NCCL)_\w*ALLOC\w*FAILED",
    re.IGNORECASE,
)
"""The messages of torch, CUDA and its libraries for full memory."""


def says_memory_is_full(message: str) -> bool:
    """Whether an error's message means that memory is full."""
    return _FULL.search(message) is not None


def memory_error(error: BaseException) -> BaseException | None:
    """The error, or the one in its chain of causes, that means that memory is full.

    A recording of a CUDA graph that runs out of memory ends in another error.
    """
    return next((cause for cause in causes(error) if _is_full(cause)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on; each once."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        yield current
        current = current.__cause__ or current.__context__


def _is_full(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or says_memory_is_full(str(error))
