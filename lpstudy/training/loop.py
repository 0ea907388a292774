"""The training loop `train`: one run from its first step to its last, with a result after each epoch."""

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
from lpstudy.training.memory import memory_error
from lpstudy.training.meter import Meter
from lpstudy.training.partial_epoch import CheckpointPoller, EpochAbandonedError, PartialEpoch
from lpstudy.training.saving import BackgroundWriter
from lpstudy.training.teacher_outputs import TeacherOutputs
from lpstudy.training.trainer import Trainer
from lpstudy.user_lines import user_code_error


def train(  # noqa: PLR0913  # five keyword-only options
    trial: RunSpec,
    data: Data,
    teacher: TeacherOutputs | None,
    *,
    device: torch.device,
    gpus: float = 1.0,
    folder: Folder | Path | None = None,
    read_test: bool = False,
    poll: Poll = always_continue,
) -> Iterator[EpochResult]:
    """Train a run and yield its result epoch by epoch.

    Args:
        trial: The networks, the method and the training settings.
        data: Training and validation splits; the test split is read only at the end of a final.
        teacher: Source of the teacher's outputs; None for methods that need none.
        device: The device of the training step.
        gpus: The share of a GPU that this process has; it only counts what the run spends.
        folder: The folder of checkpoints; if it has one, its epochs are yielded again and training resumes
            after them. At the end it holds the student as `weights.safetensors`.
        read_test: Whether this is a final, whose last epoch has `test_accuracy`.
        poll: Called on the first worker before and after each epoch and about once a second within it; may
            stop the run. An exception from it ends the run without a result of the epoch.

    Raises:
        DivergedError: The loss is not finite.
        ValueError: The method needs a teacher and there is none; a `UserCodeError` with file and line for an
            error of imported code.
        OSError: A checkpoint cannot be written; a `DiskFullError` where there is no room.
    """
    folder = LocalFolder(folder) if isinstance(folder, Path) else folder
    try:
        run = Trainer(trial, data.to(device), teacher, device, Meter(device, gpus=gpus))
        yield from _epochs(run, folder, read_test=read_test, poll=poll)
    except Exception as error:  # of any kind: it may be that of one's own code
        own = user_code_error(error)
        if own is None or own is error or isinstance(error, OSError) or memory_error(error) is not None:
            raise
        raise own from error


def _epochs(run: Trainer, folder: Folder | None, *, read_test: bool, poll: Poll) -> Iterator[EpochResult]:
    trial = run.trial
    history, warnings = run.restore(folder)
    saved_epochs = len(history)
    if folder is not None and saved_epochs == trial.epochs and parallel.rank() == 0:
        run.prepare_save(folder, history, is_last=True)()  # the weights may be missing
    yield from history
    poller = CheckpointPoller(poll, trial.training.checkpoint_seconds)
    with BackgroundWriter() as writer:

        def after_step(make_partial_epoch: Callable[[], PartialEpoch]) -> None:
            directive = poller()
            if directive in (Directive.CHECKPOINT, Directive.PAUSE):
                with parallel.averaged_buffers(run.learner.averaged_modules):
                    partial_epoch = make_partial_epoch()
                    if folder is not None and parallel.rank() == 0:
                        writer.start(run.prepare_save(folder, history, partial_epoch=partial_epoch))
                poller.last_saved = time.monotonic()
            if directive in (Directive.PAUSE, Directive.ABANDON):
                raise EpochAbandonedError

        for epoch in range(len(history) + 1, trial.epochs + 1):
            directive = parallel.agree(poll)
            if directive is not Directive.CONTINUE:
                is_unsaved = (
                    saved_epochs < len(history) and directive is Directive.PAUSE and parallel.rank() == 0
                )
                if folder is not None and is_unsaved:
                    writer.start(run.prepare_save(folder, history))
                break
            try:
                result = run.epoch(epoch, tuple(warnings), read_test=read_test, after_step=after_step)
            except EpochAbandonedError:
                break
            warnings = []
            history.append(result)
            is_last = epoch == trial.epochs
            may_save = parallel.rank() == 0 and poll() is not Directive.ABANDON
            if folder is not None and (is_last or poller.is_due) and may_save:
                writer.start(run.prepare_save(folder, history, is_last=is_last))
                poller.last_saved, saved_epochs = time.monotonic(), epoch
            if is_last:
                writer.wait()
            yield result
