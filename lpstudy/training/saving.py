"""Checkpoints and weights written by a thread, while the next epoch runs; what is said of the weights."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from lpstudy.data import Data
from lpstudy.model_file import ModelDescription, describe
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec


class BackgroundWriter:
    """Does one write at a time beside the training; at the end of its context all is on disk."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._running: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Begin a write once the one before has ended; raises what that one raised."""
        self.wait()
        self._running = self._thread.submit(write)

    def wait(self) -> None:
        """Until what was begun is on disk; raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown(wait=True)


def describe_student(trial: RunSpec, data: Data, last: EpochResult, *, bf16: bool) -> ModelDescription:
    """What is said of a student beside its weights, as it is after its last epoch."""
    return describe(
        trial.student,
        data,
        method=trial.method.method,
        precision="bf16" if bf16 else "fp32",
        validation_accuracy=last.metrics["validation_accuracy"],
        test_accuracy=last.metrics.get("test_accuracy"),
    )
