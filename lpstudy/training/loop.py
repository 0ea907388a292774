"""train(): one run from its first step to its last, an `EpochResult` after each epoch."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from lpstudy.data import Data
from lpstudy.folder import Folder, LocalFolder
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec
from lpstudy.training import parallel
from lpstudy.training.directive import Directive, Poll, always_continue
from lpstudy.training.partial_epoch import CheckpointPoller, EpochAbandonedError, PartialEpoch
from lpstudy.training.saving import BackgroundWriter
from lpstudy.training.teacher_outputs import TeacherOutputs
from lpstudy.training.trainer import Trainer


def train(
    trial: RunSpec,
    data: Data,
    teacher: TeacherOutputs | None,
    *,
    device: torch.device,
    folder: Folder | Path | None = None,
    read_test: bool = False,
    poll: Poll = always_continue,
) -> Iterator[EpochResult]:
    """Run a trial and give its result epoch by epoch.

    Args:
        trial: What to train and how.
        data: Its training and validation splits are used; the test split only at the very end of a final.
        teacher: Source of the teacher's outputs; may be None for methods that need none.
        device: Where the step runs.
        folder: Checkpoints; where it holds one, the epochs so far are given again as they were, and training
            goes on after them. At the end it holds the student as `weights.safetensors`.
        read_test: Whether this is a final: the last epoch then has `test_accuracy`.
        poll: Called before each epoch, after it and now and then within it, on the first worker; may end
            the run early. What it raises ends the run with nothing of the epoch told.

    Raises:
        DivergedError: The loss is not finite.
        ValueError: The method needs a teacher and there is none.
        OSError: A checkpoint cannot be written; a `DiskFullError` where there is no room.
    """
    run = Trainer(trial, data.to(device), teacher, device)
    folder = LocalFolder(folder) if isinstance(folder, Path) else folder
    history, warnings = run.restore(folder)
    kept = len(history)
    if folder is not None and kept == trial.epochs and parallel.rank() == 0:
        run.prepare_save(folder, history, last=True)()  # the weights may be what was lost
    yield from history
    poller = CheckpointPoller(poll, trial.training.checkpoint_seconds)
    with BackgroundWriter() as writer:

        def between(part: Callable[[], PartialEpoch]) -> None:
            ask = poller()
            if ask in (Directive.CHECKPOINT, Directive.PAUSE):
                with parallel.averaged_buffers(run.learner.student):
                    made = part()
                    if folder is not None and parallel.rank() == 0:
                        writer.start(run.prepare_save(folder, history, part=made))
                poller.last_saved = time.monotonic()
            if ask in (Directive.PAUSE, Directive.ABANDON):
                raise EpochAbandonedError

        for epoch in range(len(history) + 1, trial.epochs + 1):
            ask = parallel.agree(poll)
            if ask is not Directive.CONTINUE:
                unkept = kept < len(history) and ask is Directive.PAUSE and parallel.rank() == 0
                if folder is not None and unkept:
                    writer.start(run.prepare_save(folder, history))
                break
            try:
                result = run.epoch(epoch, tuple(warnings), read_test=read_test, between=between)
            except EpochAbandonedError:
                break
            warnings = []
            history.append(result)
            last = epoch == trial.epochs
            stays = parallel.rank() == 0 and poll() is not Directive.ABANDON
            if folder is not None and (last or poller.is_due) and stays:
                writer.start(run.prepare_save(folder, history, last=last))
                poller.last_saved, kept = time.monotonic(), epoch
            if last:
                writer.wait()
            yield result
