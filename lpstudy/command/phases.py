"""The phases of a sweep before its trials, with their progress: the teacher, then its outputs."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lpstudy import study, terminal
from lpstudy.command.faults import FaultError, fault
from lpstudy.command.prepare import PreparedStudy
from lpstudy.command.progress import LOG_SECONDS, teacher_line
from lpstudy.command.quantities import duration, size_words
from lpstudy.data import Data
from lpstudy.disk import StorageError
from lpstudy.study import PausedError, StudyControl, StudyPaths, TaskError, TrialResources
from lpstudy.tables.weak_teacher import chance_warning, is_near_chance
from lpstudy.teacher import BankPlan, TrainedTeacher
from lpstudy.training import DivergedError

T = TypeVar("T")

CLEAR = "\r\x1b[K"
"""Clears a terminal's current line."""


@contextmanager
def on_terminal(text: str) -> Iterator[None]:
    """A context that shows on a terminal what is being done; a log shows nothing."""
    live = sys.stderr.isatty()
    if live:
        terminal.say(f"{text} ...", before=CLEAR, end="")
    try:
        yield
    finally:
        if live:
            terminal.say("", before=CLEAR, end="")


@contextmanager
def with_announcement(text: str) -> Iterator[None]:
    """A context that shows what is being done, on a terminal or as a line of a log."""
    if not sys.stderr.isatty():
        terminal.say(text)
    with on_terminal(text):
        yield


class Progress:
    """Progress as one line that is overwritten on a terminal, or as occasional lines of a log."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._printed_at = time.monotonic() - LOG_SECONDS

    def begin(self, text: str) -> None:
        """Announce the start of a phase."""
        self._print(text, end="" if self._live else "\n")

    def show(self, text: str) -> None:
        """Show the progress, unless it was shown a moment ago."""
        if time.monotonic() - self._printed_at >= (1 if self._live else LOG_SECONDS):
            self._printed_at = time.monotonic()
            self._print(text, end="" if self._live else "\n")

    def say(self, text: str) -> None:
        """Print a permanent line; the next progress line follows a while later."""
        self._printed_at = time.monotonic()
        self._print(text, end="\n")

    def _print(self, text: str, *, end: str) -> None:
        terminal.say(text, before=CLEAR if self._live else "", end=end)


def retry_after_pause(control: StudyControl, phase: Callable[[], T]) -> T:
    """Run a phase, and run it again after each pause that a user ends."""
    while True:
        try:
            return phase()
        except PausedError:
            if control.current.is_exit or not control.wait():
                raise


def train_teacher_with_progress(
    prepared: PreparedStudy, paths: StudyPaths, resources: TrialResources, control: StudyControl
) -> TrainedTeacher:
    """Train the study's teacher or find it in the cache, with progress.

    Raises:
        FaultError: The teacher diverged, cannot be trained on the nodes, or lost its process too often.
        PausedError: The study must not continue.
        StorageError: A checkpoint cannot be written, or the cache cannot be read.
    """
    spec, progress = prepared.spec, Progress()
    progress.begin("teacher: starting its process")
    while True:  # a pause ends its task even if it is revoked
        try:
            for result in study.train_teacher(spec, prepared.data, paths, resources, control):
                if isinstance(result, TrainedTeacher):
                    for line in teacher_lines(result, prepared):
                        progress.say(line)
                    return result
                for text in result.warnings:
                    progress.say(f"warning: teacher: {text}")
                progress.show(teacher_line(result, spec.teacher.epochs))
        except DivergedError as error:
            raise FaultError(f"the teacher diverged: {error}; lower [teacher] learning_rate") from error
        except StorageError:
            raise
        except (TaskError, ValueError, OSError) as error:
            raise fault(error, "the teacher") from error


def teacher_lines(file: TrainedTeacher, prepared: PreparedStudy) -> list[str]:
    """Lines that describe a trained teacher."""
    if file.file_classes is not None:  # a note has explained this
        return [f"teacher: {file.label}, its last layer untrained"]
    lines = [f"teacher: {file.label}, test {file.test_accuracy:.2f} %"]
    accuracy, chance = file.validation_accuracy, chance_of(prepared.data)
    if is_near_chance(accuracy, chance, len(prepared.data.validation)):
        has_user_weights = prepared.spec.teacher.weights is not None
        lines.append(f"warning: {chance_warning(accuracy, chance, own_weights=has_user_weights)}")
    return lines


def chance_of(data: Data) -> float:
    """Validation accuracy, in percent, of always predicting the largest class."""
    return 100 * int(data.validation.labels.bincount().max()) / len(data.validation)


def fill_bank_with_progress(
    prepared: PreparedStudy,
    teacher: TrainedTeacher,
    paths: StudyPaths,
    resources: TrialResources,
    control: StudyControl,
) -> None:
    """Compute the teacher's outputs or find them in the cache, with progress.

    Raises:
        FaultError: The disk is too small, an output exceeds the bank's number format, or workers were
            lost too often.
        PausedError: The study must not continue.
        StorageError: The cache cannot be written or read.
    """
    plan, progress = prepared.plan, Progress()
    progress.say(f"teacher's outputs: {bank_words(plan)}")
    if not plan.banked_outputs:
        return
    if sys.stderr.isatty():
        progress.begin("teacher's outputs: starting processes")
    started_at, first = time.monotonic(), None
    try:
        for bank in study.fill_bank(prepared.spec, prepared.data, teacher, plan, paths, resources, control):
            if bank.note:
                progress.say(f"teacher's outputs: {bank.note}")
                continue
            first = bank.blocks_done - 1 if first is None else first
            rate = (bank.blocks_done - first) / max(time.monotonic() - started_at, 1e-9)
            eta = duration((bank.blocks_total - bank.blocks_done) / rate)
            progress.show(f"teacher's outputs: {bank.blocks_done / bank.blocks_total:.0%}, ETA {eta}")
    except StorageError:
        raise
    except (TaskError, ValueError, OSError) as error:
        raise fault(error, "the teacher bank") from error
    if first is not None:
        progress.say(f"teacher's outputs: computed in {duration(time.monotonic() - started_at)}")


def bank_words(plan: BankPlan) -> str:
    """Which outputs are stored, which are computed at each step, and why."""
    parts = []
    if plan.banked_outputs:
        names = ", ".join(output.name for output in plan.banked_outputs)
        parts.append(f"{names} stored, {size_words(plan.bytes)} in {plan.dtype}")
    if plan.online:
        parts.append(f"{', '.join(plan.online)} computed at each step")
    return "; ".join([*parts, plan.reason])
