"""The facts of a study in a report, and the columns of its frames of runs and curves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lpstudy.diagnostic import Diagnostic
from lpstudy.spending import SPENDING, STEP_SECONDS, PhaseSpending, Prices
from lpstudy.tables.latency import LatencyFacts

COST_COLUMNS = ("auxiliary_bytes", "loss_macs", "teacher_bytes")
"""What a run costs besides its student: bytes of auxiliary weights and buffers; MACs of the loss with its
gradient for one image; bytes of the teacher's outputs that are stored for one image and view."""
BEYOND_ACCURACY = ("ece", "nll", "brier", "agreement", "teacher_kl")
"""Figures of finals on the test set: calibration error in percent, negative log-likelihood in nats, Brier
score (sum over classes), agreement with the teacher's class in percent, KL(teacher || student) in nats."""
TEST_COLUMNS = (
    "test_balanced_accuracy",
    "test_top5_accuracy",
    *(f"test_{name}" for name in BEYOND_ACCURACY),
)
"""Figures of finals: accuracies where the test set's classes are uneven, or from 20 classes on; and
those beyond accuracy."""
RUN_COLUMNS = (
    "run_id",
    "kind",
    "arm",
    "method",
    "student",
    "family",
    "design",
    "depth",
    "width",
    "trial",
    "seed",
    "attempt",
    "state",
    "epochs",
    "validation_accuracy",
    "test_accuracy",
    "test_correct",
    *TEST_COLUMNS,
    "parameters",
    "macs",
    "auxiliary_parameters",
    *COST_COLUMNS,
    "training_macs",
    "teacher_macs",
    "seconds",
    STEP_SECONDS,
    *SPENDING,
    "started",
    "ended",
    "hyperparameters",
    "searched",
    "warnings",
)
"""Columns of the frame of runs: one row per trial (kind "trial") and per final seed (kind "final"). `started`
and `ended` are in seconds since 1970, to the millisecond; a run that was resumed has one start.

Behind them are accuracies on shifted test images, where finals have any: see `shift_columns`."""

TRIALS, EPOCHS = "trials per arm", "epochs"
"""Names of budgets in `StudyFacts.budget`."""
CURVE_COLUMNS = ("run_id", "arm", "kind", "trial", "seed", "epoch", "metric", "value")
"""Columns of the long frame of per-epoch metrics."""


@dataclass(frozen=True, slots=True)
class PublishedFacts:
    """What others have published for an arm, or for the teacher."""

    value: float
    """Top-1 test accuracy in percent."""
    source: str
    note: str = ""
    has_same_recipe: bool = False
    """Whether the study trains by the published recipe, so that the two accuracies may be compared."""


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """The teacher's figures. Accuracy is in percent; None where a number is not known."""

    label: str
    test_accuracy: float | None
    parameters: int
    macs: int
    """Multiply-accumulates of one image's forward pass."""
    training_macs: float | None
    """Multiply-accumulates spent to train it; None for a user's weights."""
    seed: int | None
    weights_hash: str
    run_id: str
    family: str = ""
    depth: int | None = None
    width: int | None = None
    validation_accuracy: float | None = None
    chance: float | None = None
    """The accuracy of always predicting the validation set's largest class."""
    file_classes: int | None = None
    """The class count of a user's weights file if it differs from the data's: the last layer is untrained."""
    published: PublishedFacts | None = None
    test_balanced_accuracy: float | None = None
    """Mean over classes, where they are uneven."""
    test_top5_accuracy: float | None = None
    test_ece: float | None = None
    test_nll: float | None = None
    test_brier: float | None = None
    shifts: Mapping[str, float] = field(default_factory=dict)
    """Accuracies on shifted test images by name."""


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The range of a searched number, both ends included."""

    low: float
    high: float
    log: bool = False
    below: str = ""
    """The range to search next where the best value lies at the low end, as a study file writes it; "" where
    the hyperparameter goes no further."""
    above: str = ""
    """The same for the high end."""
    section: str = ""
    """The study file's table that has the range: "training", "students" or "methods.kd"."""


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """One (method, student) pair of the comparison."""

    name: str
    method: str
    student: str
    """The student's label, the same in every arm that trains this student (or searches these sizes)."""
    objectives: int
    """1: validation accuracy; 2: also MACs, where depth or width are searched."""
    ranges: Mapping[str, str]
    """Searched hyperparameters, each with its range as text."""
    fixed: Mapping[str, str]
    """The other hyperparameters with their values as text."""
    run_id: str
    points: int | None = None
    """The number of different points of its search space; None where a range is continuous."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """What its method logs about itself, in the order of the report's columns."""
    published: PublishedFacts | None = None
    search: int = 1
    """Which of the repeated searches of the method on the student it is."""
    numbers: Mapping[str, NumberRange] = field(default_factory=dict)
    """The searched hyperparameters that are numbers from a range; the others are choices."""
    epochs: int | None = None
    """Epochs of its runs; None where they are not known."""
    compute_of: str = ""
    """The method whose compute it spends on longer training; empty: it has the budget's epochs."""


@dataclass(frozen=True, slots=True)
class FinalsFacts:
    """How trials became finals, and what differs from final to final."""

    vary: tuple[str, ...] = ("seed",)
    searches: int = 1
    candidates: int = 1
    decisions: tuple[str, ...] = ()
    """Why each student has its number of seeds, where seeds are added; one line each."""
    teachers: tuple[float, ...] = ()
    """The test accuracy in percent of each teacher of the finals, where each seed has one of its own."""


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A study: its data, teacher and arms, and where its numbers come from."""

    name: str
    data: str
    classes: int
    train_samples: int
    validation_samples: int
    test_samples: int
    teacher: TeacherFacts
    arms: tuple[ArmFacts, ...]
    """In the study's order, which tables and figures keep."""
    budget: Mapping[str, str] = field(default_factory=dict)
    """Every arm's budget as text: trials, epochs, seeds of the finals, hours."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Data hash, versions, commit, machine, and under "command" the command that ran the study."""
    experiment_id: str = ""
    label_words: tuple[str, ...] = ()
    """Which images have labels, for the students and for the teacher; one sentence each."""
    latency: LatencyFacts | None = None
    """Measured latencies; None where the study measures none."""
    test_labels: NDArray[np.int64] | None = field(default=None, compare=False)
    """The label of each test image, where the classes are uneven."""
    class_names: tuple[str, ...] = ()
    """With test_labels."""
    looks: tuple[int, ...] = ()
    """The planned numbers of seeds at which the finals are compared; none for a fixed number."""
    finals: FinalsFacts = FinalsFacts()
    growth: tuple[str, ...] = ()
    """What was added to the study after its start and hidden: when, after how many runs, what."""
    hidden: str = ""
    """The arms that the study file no longer has, and their runs."""
    spending: tuple[PhaseSpending, ...] = ()
    """What teacher and bank have cost."""
    estimate: tuple[PhaseSpending, ...] = ()
    """What `lpstudy plan` has estimated of all phases; empty where no plan was made."""
    prices: Prices = field(default_factory=Prices)
