"""The artifact `study.json`, which describes a study: strict models and the reader."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from lpstudy.class_accuracy import unpack_labels
from lpstudy.damage import LARGEST_FIGURE, problem_of
from lpstudy.ledger import StoredExtension, StoredPhase, StoredSeeds, StoredTeacher

MAX_BYTES = 1 << 22
"""The most bytes of the artifact; a study file has at most 2^20."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


def _labels(text: str) -> str:
    unpack_labels(text)
    return text


class DataJson(_StrictModel):
    """The data set; train, validation and test are sample counts."""

    name: str
    classes: NonNegativeInt
    train: NonNegativeInt
    validation: NonNegativeInt
    test: NonNegativeInt
    chance: float | None = None
    """The accuracy in percent of always predicting the validation set's largest class."""
    labelled: NonNegativeInt | None = None
    """The number of training images with labels, where others have none."""
    test_labels: Annotated[str, AfterValidator(_labels)] | None = None
    """`pack_labels` of the test set, where its classes are uneven."""
    class_names: list[str] = Field(default_factory=list)
    """With test_labels."""


class TeacherJson(_StrictModel):
    """The teacher's figures for the report; see `lpstudy.teacher.TrainedTeacher`."""

    label: str
    sha256: str
    test_accuracy: Annotated[float, Field(ge=0, le=100)]
    parameters: PositiveInt
    macs: PositiveInt
    training_macs: Annotated[float, Field(ge=0, le=LARGEST_FIGURE)]
    seed: NonNegativeInt
    validation_accuracy: float | None = None
    file_classes: NonNegativeInt | None = None
    test_balanced_accuracy: Annotated[float, Field(ge=0, le=100)] | None = None
    test_top5_accuracy: Annotated[float, Field(ge=0, le=100)] | None = None
    test_ece: Annotated[float, Field(ge=0, le=100)] | None = None
    test_nll: Annotated[float, Field(ge=0, le=LARGEST_FIGURE)] | None = None
    test_brier: Annotated[float, Field(ge=0, le=2)] | None = None
    shifts: dict[str, Annotated[float, Field(ge=0, le=100)]] | None = None


class MachineJson(_StrictModel):
    """The machine of the latencies."""

    cpu: str
    cores: PositiveInt
    gpu: str | None
    system: str
    versions: dict[str, str]


class LatencyRowJson(_StrictModel):
    """Milliseconds of a forward pass; see `lpstudy.latency_row.LatencyRow`."""

    model: str
    runtime: str
    target: str
    batch: PositiveInt
    threads: PositiveInt
    median_ms: Annotated[float, Field(gt=0, le=LARGEST_FIGURE)]
    p95_ms: Annotated[float, Field(gt=0, le=LARGEST_FIGURE)]
    runs: PositiveInt


class LatencyJson(_StrictModel):
    """Latencies of teacher and winners."""

    machine: MachineJson
    rows: list[LatencyRowJson]
    skipped: list[str]


class FinalsJson(_StrictModel):
    """How trials became finals."""

    candidates: PositiveInt = 1
    seeds: dict[str, StoredSeeds] = Field(default_factory=dict)
    """What the last look decided for each arm."""
    teachers: dict[str, StoredTeacher] = Field(default_factory=dict)
    """The teacher of each seed of the finals."""


class StudyJson(_StrictModel):
    """The whole artifact; its spec is validated like a study file."""

    spec: dict[str, Any]
    data: DataJson
    teacher: TeacherJson
    provenance: dict[str, str]
    latency: LatencyJson | None = None
    growth: list[StoredExtension] = Field(default_factory=list)
    """What was added to the study after its start and hidden, in order."""
    hidden: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """The number of runs of each hidden arm."""
    finals: FinalsJson = FinalsJson()
    front_pruner: bool = False
    """Whether trials of arms that search depth or width are judged by accuracy and MACs."""
    spending: list[StoredPhase] = Field(default_factory=list)
    """What teacher and bank have cost."""
    estimate: list[StoredPhase] = Field(default_factory=list)
    """What `lpstudy plan` has estimated."""


def read_study_json(path: Path) -> StudyJson:
    """Read and validate the artifact.

    Raises:
        ValueError: One line: the file is too large, is not JSON, or is not as lpstudy writes it.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes")
    try:
        return StudyJson.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(problem_of(error)) from None
