"""Writing of checkpoints and weights in a thread during the next epoch; the description of the weights."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from lpstudy.data import Data
from lpstudy.model_file import ModelDescription, describe
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec


class BackgroundWriter:
    """Runs one write at a time in a thread; all writes are on disk at the end of the context."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._write: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Start a write once the earlier one has ended; raise the earlier one's error."""
        self.wait()
        self._write = self._thread.submit(write)

    def wait(self) -> None:
        """Wait until the current write is on disk; raise its error."""
        write, self._write = self._write, None
        if write is not None:
            write.result()

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
    """The description of a student after its last epoch."""
    return describe(
        trial.student,
        data,
        method=trial.method.method,
        precision="bf16" if bf16 else "fp32",
        validation_accuracy=last.metrics["validation_accuracy"],
        test_accuracy=last.metrics.get("test_accuracy"),
    )
