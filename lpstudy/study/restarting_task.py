"""Ray tasks, on a GPU or not, and their results as they come, begun again where their process is lost."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from lpstudy.disk import is_storage_error, storage_error
from lpstudy.study.failures import encode_failure
from lpstudy.training import DivergedError

T = TypeVar("T")

MAX_RESTARTS = 2
"""How often in a row, with nothing new in between, what has lost its process is begun again."""


def task(function: Callable[..., Any], *, cpus: float, gpus: float) -> Any:
    """A function as a Ray task, which Ray does not begin again; a generator's results come one by one.

    The process of one on a GPU ends with it: a later task would find its memory taken, or have another GPU
    than the one that CUDA was started on. Ray sees to that where a task is declared with its share of a GPU,
    not where `.options` adds it.
    """
    returns: Any = "streaming" if inspect.isgeneratorfunction(function) else 1
    declared: Any = ray.remote(
        num_cpus=cpus, num_gpus=gpus, num_returns=returns, max_calls=1 if gpus else 0, max_retries=0
    )
    return declared(function)


class TaskError(Exception):
    """A task came to nothing: out of memory, or its process was lost too often in a row."""


class RestartingTask(Generic[T]):
    """Results of one task.

    Args:
        begin: Begins the task, or what is left of it; gives Ray's generator.
        new: Whether a result is one that was not there before the task was begun again.
        kept: Names the newest of what the task keeps between its results, greater than those before.
    """

    def __init__(
        self,
        begin: Callable[[], Any],
        new: Callable[[T], bool] = lambda result: True,
        kept: Callable[[], str] = str,
    ) -> None:
        self._begin, self._new, self._kept = begin, new, kept
        self._losses, self._newest = 0, kept()
        self.results = begin()
        """To be waited for with `ray.wait`."""

    def next(self) -> T | None:
        """The next result, once there is one; None where that is not new, or the task was begun again.

        Raises:
            StopIteration: The task has ended.
            TaskError: Its process was lost too often in a row, or had not enough memory.
            ValueError, OSError, DivergedError: As the task raised it.
        """
        try:
            found: T = ray.get(next(self.results))
        except RayTaskError as error:  # whose text is the remote traceback
            raise _cause(error) from None
        except RayError as error:
            if (newest := self._kept()) > self._newest:
                self._losses, self._newest = 0, newest
            self._losses += 1
            if self._losses > MAX_RESTARTS:
                lines = [line for line in str(error).splitlines() if line.strip()]
                said = lines[0].strip()[:200] if lines else type(error).__name__
                raise TaskError(f"its process was lost {self._losses} times in a row: {said}") from error
            self.results = self._begin()
            return None
        if not self._new(found):
            return None
        self._losses = 0
        return found

    def again(self) -> None:
        """Begin it again, asking for what there is now."""
        ray.cancel(self.results)
        self.results = self._begin()


def _cause(error: RayTaskError) -> Exception:
    cause = error.cause
    if isinstance(cause, OSError) and is_storage_error(cause):
        return storage_error(cause)
    if isinstance(cause, DivergedError | ValueError | OSError):
        return cause
    with suppress(Exception):  # which is the error itself
        return TaskError(encode_failure(cause))
    return error
