"""The interface of a backend: the processes in which a study's teacher, bank and runs are computed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import ClassVar

from lpstudy.folder import Folder
from lpstudy.ledger import Ledger
from lpstudy.outputs import EpochResult
from lpstudy.study.control import StudyControl
from lpstudy.study.driver import Driver
from lpstudy.study.resources import Spec, TrialResources, with_resolved_precision
from lpstudy.study.run_job import RunJobs, StudyContext, StudyInputs
from lpstudy.teacher import Block, ComputedBlock, TrainedTeacher


class TaskError(Exception):
    """The teacher or its bank cannot be computed: out of memory, or processes are lost again and again."""


class Backend(ABC):
    """A backend of a study.

    Args:
        resources: The resources of a trial.
    """

    starting: ClassVar[str] = ""
    """What is printed while it starts; empty if nothing starts."""
    is_joined = False
    """Whether it exists before the study starts, as a cluster that is joined does."""
    runs_end_themselves = False
    """Whether a run that must end early ends itself by the control file."""

    def __init__(self, resources: TrialResources) -> None:
        self.resources = resources
        self.say: Callable[[str], None] = lambda text: None
        """Prints a line for the user; called from any thread."""

    def connect(self, stack: ExitStack) -> None:  # noqa: B027  # nothing to join by default
        """Join what exists before the study starts, or check that it can be started; before the lease.

        Raises:
            ValueError: It cannot be used; one line says why.
        """

    def start(self, stack: ExitStack) -> None:  # noqa: B027  # nothing to start by default
        """Start what a study needs; it ends with the stack.

        Raises:
            ValueError: It cannot be started; one line says why.
        """

    def watch(  # noqa: B027  # nothing to watch by default
        self, stack: ExitStack, control: StudyControl, folders: Mapping[str, Folder]
    ) -> None:
        """Check that all processes share these folders, and pause the study if the backend fails from now on.

        Args:
            stack: The watch ends with it.
            control: The study's current request.
            folders: The folders with absolute addresses, by the flag or variable that sets them.

        Raises:
            ValueError: A folder is not shared.
            OSError: This process cannot write into a folder.
        """

    @abstractmethod
    def capacity(self) -> int:
        """How many trials run at once now."""

    def gauges(self) -> dict[str, Callable[[], object]]:
        """Values that the study reports to other shells, each read in a thread of its own."""
        return {}

    @abstractmethod
    def has_bf16(self) -> bool:
        """Whether the device on which trials run multiplies bfloat16."""

    def gpu_name(self) -> str:
        """The model of the GPU on which trials run; empty if they run on the CPU."""
        return ""

    def resolve(self, training: Spec) -> Spec:
        """A copy of the training settings with precision `auto` resolved."""
        if training.precision != "auto":
            return training.model_copy()
        return with_resolved_precision(training, has_bf16=self.has_bf16())

    @abstractmethod
    def train_teacher(
        self, study: StudyInputs, control: StudyControl
    ) -> Iterator[EpochResult | TrainedTeacher]:
        """Train the teacher: yields its epochs and finally its file, at once if it has been trained before.

        Raises:
            DivergedError: Its loss is not finite.
            StorageError: A checkpoint cannot be written.
            PausedError: The study must not continue; the teacher has written a checkpoint.
            TaskError: Out of memory, or its process was lost too often in a row.
            ValueError, OSError: The data or the weights cannot be read where it is trained.
        """

    @abstractmethod
    def compute_blocks(
        self, study: StudyInputs, teacher: TrainedTeacher, missing: Sequence[Block]
    ) -> Iterator[ComputedBlock]:
        """Compute blocks of the teacher's bank: yields each as soon as it is written.

        Raises:
            StorageError: A block cannot be written.
            TaskError: Out of memory, or processes were lost too often in a row.
            ValueError: An output is beyond the bank's number format.
        """

    @abstractmethod
    def train_runs(self, driver: Driver) -> None:
        """Train the driver's runs until it is done or its request changes."""

    def jobs(
        self, ledger: Ledger, study: StudyInputs, teacher: TrainedTeacher, control: StudyControl
    ) -> RunJobs:
        """The jobs of a study's runs, with the precision and resources of this backend."""
        return RunJobs(ledger, self.context(study, teacher), study.paths, control, self.resolve)

    def context(self, study: StudyInputs, teacher: TrainedTeacher) -> StudyContext:
        """What all runs with these data and this teacher share."""
        root = study.paths.data_root
        return StudyContext(
            imported=study.imported,
            data=study.spec.data,
            data_root=str(root) if root else None,
            teacher=self.resolve(study.spec.teacher),
            teacher_file=teacher,
            plan=study.plan,
            shift=study.spec.shift,
            gpus=self.resources.gpus_per_trial,
            workers=self.resources.workers_per_trial,
        )

    def is_lost(self) -> bool:
        """Whether the backend itself has failed, which may be an error's cause; if so, the study pauses."""
        return False

    def kill(self) -> None:  # noqa: B027  # nothing to kill by default
        """Kill all processes that the backend has started."""
