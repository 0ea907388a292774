"""Ray tasks whose results arrive one by one and which are restarted if their process is lost."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from lpstudy.disk import is_storage_error, storage_error
from lpstudy.one_line import first_line
from lpstudy.study.backend import TaskError
from lpstudy.study.driver import MAX_RESTARTS
from lpstudy.study.run_end import end_of
from lpstudy.training import DivergedError

T = TypeVar("T")


def task(function: Callable[..., Any], *, cpus: float, gpus: float) -> Any:
    """A function as a Ray task that Ray does not retry; a generator's results arrive one by one.

    The process of a task on a GPU ends with the task: a later task would lack the memory that it holds, or
    have another GPU than the one on which CUDA was started. Ray does this where a task is declared with its
    share of a GPU, not where `.options` adds it.
    """
    returns: Any = "streaming" if inspect.isgeneratorfunction(function) else 1
    declared: Any = ray.remote(
        num_cpus=cpus, num_gpus=gpus, num_returns=returns, max_calls=1 if gpus else 0, max_retries=0
    )
    return declared(function)


class RestartingTask(Generic[T]):
    """The results of one task, which is restarted if its process is lost.

    Args:
        start: Starts the task, or the rest of it; returns Ray's generator.
        is_new: Whether a result did not arrive before the task was restarted.
        newest_checkpoint: The name of the task's newest checkpoint between two results; names only grow.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        is_new: Callable[[T], bool] = lambda result: True,
        newest_checkpoint: Callable[[], str] = str,
    ) -> None:
        self._start, self._is_new, self._newest_checkpoint = start, is_new, newest_checkpoint
        self._losses, self._newest = 0, newest_checkpoint()
        self.results = start()
        """Ray's generator, for `ray.wait`."""

    def next(self) -> T | None:
        """The next result; None if it is not new or the task was restarted. Waits for it.

        Raises:
            StopIteration: The task has ended.
            TaskError: Its process was lost too often in a row, or had not enough memory.
            ValueError, OSError, DivergedError: As the task raised it.
        """
        try:
            result: T = ray.get(next(self.results))
        except RayTaskError as error:  # whose text is the remote traceback
            raise _cause(error) from None
        except RayError as error:
            if (newest := self._newest_checkpoint()) > self._newest:
                self._losses, self._newest = 0, newest
            self._losses += 1
            if self._losses > MAX_RESTARTS:
                raise TaskError(
                    f"its process was lost {self._losses} times in a row: {first_line(error, 200)}"
                ) from error
            self.results = self._start()
            return None
        if not self._is_new(result):
            return None
        self._losses = 0
        return result

    def restart(self) -> None:
        """Restart the task with the resources that are available now."""
        ray.cancel(self.results)
        self.results = self._start()


def _cause(error: RayTaskError) -> Exception:
    cause = error.cause
    if isinstance(cause, OSError) and is_storage_error(cause):
        return storage_error(cause)
    if isinstance(cause, DivergedError | ValueError | OSError):
        return cause
    with suppress(Exception):  # which is the error itself
        return TaskError(end_of(cause).cause)
    return error
