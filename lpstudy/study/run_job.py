"""The job of one run: all that the process in which it trains has to know, as JSON."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lpstudy.data import Data, DataSpec
from lpstudy.disk import StorageError
from lpstudy.folder import Folder
from lpstudy.ledger import Assignment, Ledger
from lpstudy.space import ImportedCode, LoadedCode, RunSpec, ShiftSettings, StudySpec, TeacherSpec, Training
from lpstudy.study.control import StudyControl
from lpstudy.teacher import BankPlan, TrainedTeacher
from lpstudy.training import checkpoint

WORKERS = "workers"
"""Subfolder of a run's folder with Ray Train's own state."""


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The folders of a study's files, data and weights."""

    folder: Folder
    """The study's folder within the storage; its address is valid on all nodes."""
    data_root: Path | None
    weights: Mapping[str, str] = field(default_factory=dict)
    """The shared copy of each weights file, by the path that the study file gives."""

    def shared_weights(self, weights: str | None) -> str | None:
        """The shared copy of a weights file; None if the network has no weights."""
        return None if weights is None else self.weights.get(weights, weights)


@dataclass(frozen=True, slots=True)
class StudyInputs:
    """All that a study computes from."""

    spec: StudySpec
    data: Data
    plan: BankPlan
    """The plan of the teacher's outputs that are computed once."""
    paths: StudyPaths
    imported: tuple[ImportedCode, ...] = ()
    """The code of one's own, which every process runs."""

    def teacher_spec(self) -> TeacherSpec:
        """The teacher's settings with the shared copy of its weights file."""
        weights = self.paths.shared_weights(self.spec.teacher.weights)
        return self.spec.teacher.model_copy(update={"weights": weights})


class StudyContext(BaseModel):
    """The settings that all runs of a study share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    imported: LoadedCode = ()
    """The code of one's own; the fields after it, and the run, may name what it adds."""
    data: DataSpec
    data_root: str | None
    teacher: TeacherSpec
    teacher_file: TrainedTeacher
    plan: BankPlan
    shift: ShiftSettings = ShiftSettings()
    gpus: float
    """GPUs of a run's worker; 0 trains on the CPU."""
    workers: int


class RunJob(BaseModel):
    """The job of one run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shared: StudyContext
    trial: RunSpec
    final: bool
    folder: str
    """The run's folder, as `folder_at` parses it."""
    control: str
    """The folder of the control file."""
    holder: str
    """The token of the process that runs the study."""
    key: str
    """The run's key."""
    rungs: tuple[int, ...]
    """Epochs after which the run may be pruned; there it waits for the driver's decision."""


@dataclass(frozen=True)
class RunJobs:
    """The jobs and folders of a study's runs: only finals read the test set, only trials are pruned."""

    ledger: Ledger
    context: StudyContext
    paths: StudyPaths
    control: StudyControl
    resolve: Callable[[Training], Training]
    """Resolves the precision `auto` for the device of the runs."""
    of_seeds: dict[int, StudyContext] = field(default_factory=dict)
    """What the finals of a seed share, where they have a teacher or a split of their own."""

    def job(self, assignment: Assignment) -> RunJob:
        """The job of a run."""
        is_final = assignment.kind == "final"
        arm = self.ledger.arms[assignment.arm]
        run = arm.resolve(assignment.values, epochs=arm.epochs, seed=assignment.seed)
        weights = self.paths.shared_weights(run.student.weights)
        student = run.student.model_copy(update={"weights": weights})
        return RunJob(
            shared=self.of_seeds.get(assignment.seed, self.context) if is_final else self.context,
            trial=run.model_copy(update={"training": self.resolve(run.training), "student": student}),
            final=is_final,
            folder=self.folder(assignment).url,
            control=self.control.folder.url,
            holder=self.control.token,
            key=assignment.key,
            rungs=self.ledger.rungs(assignment),
        )

    def folder(self, assignment: Assignment) -> Folder:
        """The folder of a run's checkpoints and weights."""
        return run_folder(self.paths.folder, assignment)

    def newest_checkpoint(self, assignment: Assignment) -> str:
        """The name of a run's newest checkpoint; empty if there is none or the storage is unreachable."""
        return newest_checkpoint(self.folder(assignment))

    def drop_checkpoints(self, assignment: Assignment) -> None:
        """Remove the checkpoints of a run that has ended; if the storage is unreachable they stay, unread."""
        with suppress(StorageError):
            checkpoint.drop(self.folder(assignment))
            (self.folder(assignment) / WORKERS).clear()


def run_folder(study: Folder, assignment: Assignment) -> Folder:
    """The folder of a run's checkpoints and weights in a study's folder."""
    return study / f"runs/{assignment.key}"


def newest_checkpoint(folder: Folder) -> str:
    """The name of a folder's newest checkpoint; empty if there is none or the storage is unreachable."""
    with suppress(StorageError):
        return checkpoint.newest_name(folder)
    return ""
