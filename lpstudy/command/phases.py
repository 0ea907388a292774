"""What comes before the trials, with its progress: the teacher, then its outputs."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lpstudy import study, terminal
from lpstudy.command.console import EVERY, teacher_line
from lpstudy.command.faults import FaultError, fault
from lpstudy.command.prepare import Prepared
from lpstudy.command.words import duration, size_words
from lpstudy.data import Data
from lpstudy.disk import StorageError
from lpstudy.study import PausedError, Place, StudyControl, TaskError, TrialResources
from lpstudy.tables.weak_teacher import chance_warning, is_near_chance
from lpstudy.teacher import BankPlan, TrainedTeacher
from lpstudy.training import DivergedError

T = TypeVar("T")

CLEAR = "\r\x1b[K"
"""Takes a terminal's line back to its begin."""


@contextmanager
def on_terminal(text: str) -> Iterator[None]:
    """Show what is being done, on a terminal alone, until it is done."""
    live = sys.stderr.isatty()
    if live:
        terminal.say(f"{text} ...", before=CLEAR, end="")
    try:
        yield
    finally:
        if live:
            terminal.say("", before=CLEAR, end="")


@contextmanager
def announced(text: str) -> Iterator[None]:
    """The same; a log has a line of it."""
    if not sys.stderr.isatty():
        terminal.say(text)
    with on_terminal(text):
        yield


class Progress:
    """One line that is written anew on a terminal; in a log, a line now and then."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said = time.monotonic() - EVERY

    def begin(self, text: str) -> None:
        """A phase that begins, of which nothing is known for a while."""
        self._print(text, end="" if self._live else "\n")

    def show(self, text: str) -> None:
        """Where the work stands; not each time."""
        if time.monotonic() - self._said >= (1 if self._live else EVERY):
            self._said = time.monotonic()
            self._print(text, end="" if self._live else "\n")

    def say(self, text: str) -> None:
        """A line that stays; the next of those that do not comes a while after it."""
        self._said = time.monotonic()
        self._print(text, end="\n")

    def _print(self, text: str, *, end: str) -> None:
        terminal.say(text, before=CLEAR if self._live else "", end=end)


def again(control: StudyControl, phase: Callable[[], T]) -> T:
    """Run a phase, and once more after each pause that another shell has ended."""
    while True:
        try:
            return phase()
        except PausedError:
            if control.current.exiting or not control.wait():
                raise


def train_teacher(
    prepared: Prepared, place: Place, resources: TrialResources, control: StudyControl
) -> TrainedTeacher:
    """The study's teacher, trained or found.

    Raises:
        FaultError: It diverged, cannot be trained where the nodes are, or has lost its process too often.
        PausedError: The study is not to go on.
        StorageError: Its checkpoint cannot be written, or the cache not be read.
    """
    spec, progress = prepared.spec, Progress()
    progress.begin("teacher: starting its process")
    while True:  # a pause that was taken back ends its task too
        try:
            for told in study.train_teacher(spec, prepared.data, place, resources, control):
                if isinstance(told, TrainedTeacher):
                    for line in teacher_words(told, prepared):
                        progress.say(line)
                    return told
                for text in told.warnings:
                    progress.say(f"warning: teacher: {text}")
                progress.show(teacher_line(told, spec.teacher.epochs))
        except DivergedError as error:
            raise FaultError(f"the teacher diverged: {error}; lower [teacher] learning_rate") from error
        except StorageError:
            raise
        except (TaskError, ValueError, OSError) as error:
            raise fault(error, "the teacher") from error


def teacher_words(file: TrainedTeacher, prepared: Prepared) -> list[str]:
    """What is said of a teacher that is there."""
    if file.file_classes is not None:  # a note has said so
        return [f"teacher: {file.label}, its last layer untrained"]
    words = [f"teacher: {file.label}, test {file.test_accuracy:.2f} %"]
    reached, chance = file.validation_accuracy, chance_of(prepared.data)
    if is_near_chance(reached, chance, len(prepared.data.validation)):
        own = prepared.spec.teacher.weights is not None
        words.append(f"warning: {chance_warning(reached, chance, own_weights=own)}")
    return words


def chance_of(data: Data) -> float:
    """Accuracy on the validation part, in percent, of always naming its largest class."""
    return 100 * int(data.validation.labels.bincount().max()) / len(data.validation)


def fill_bank(
    prepared: Prepared,
    teacher: TrainedTeacher,
    place: Place,
    resources: TrialResources,
    control: StudyControl,
) -> None:
    """The teacher's outputs, computed or found.

    Raises:
        FaultError: The disk is too small, an output is beyond the bank's number format, or the workers were
            lost too often.
        PausedError: The study is not to go on.
        StorageError: The cache cannot be written or read.
    """
    plan, progress = prepared.plan, Progress()
    progress.say(f"teacher's outputs: {bank_words(plan)}")
    if not plan.banked_outputs:
        return
    if sys.stderr.isatty():
        progress.begin("teacher's outputs: starting processes")
    began, first = time.monotonic(), None
    try:
        for filling in study.fill_bank(
            prepared.spec, prepared.data, teacher, plan, place, resources, control
        ):
            if filling.note:
                progress.say(f"teacher's outputs: {filling.note}")
                continue
            first = filling.done - 1 if first is None else first
            rate = (filling.done - first) / max(time.monotonic() - began, 1e-9)
            left = duration((filling.total - filling.done) / rate)
            progress.show(f"teacher's outputs: {filling.done / filling.total:.0%}, ETA {left}")
    except StorageError:
        raise
    except (TaskError, ValueError, OSError) as error:
        raise fault(error, "the teacher bank") from error
    if first is not None:
        progress.say(f"teacher's outputs: computed in {duration(time.monotonic() - began)}")


def bank_words(plan: BankPlan) -> str:
    """What is kept and what is computed at each step, and why."""
    parts = []
    if plan.banked_outputs:
        names = ", ".join(kept.name for kept in plan.banked_outputs)
        parts.append(f"{names} kept, {size_words(plan.bytes)} in {plan.dtype}")
    if plan.online:
        parts.append(f"{', '.join(plan.online)} computed at each step")
    return "; ".join([*parts, plan.reason])
