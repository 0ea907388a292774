"""`config.json` of a deployed folder: the network, its classes and preprocessing, and how it was chosen.

Its upper level has the layout of timm and of the Hugging Face hub, so that timm loads a folder of a network
of its own; the table `lpstudy` is what `lpstudy.load` reads.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lpstudy.damage import problem_of
from lpstudy.model_file import LARGEST_DESCRIPTION, ModelDescription, Percent, TrainedModel
from lpstudy.students.timm import TimmNet
from lpstudy.terminal import printable_line

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
PROGRAM = "model.pt2"
INT8 = "model.int8.onnx"
LATENCY = "latency.json"
CARD = "README.md"
FILES = (WEIGHTS, CONFIG, ONNX, PROGRAM, INT8, LATENCY, CARD)
"""All files that a deployed folder may have."""
_WORD = Annotated[str, Field(max_length=300)]
_Count = Annotated[int, Field(ge=0)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Origin(_StrictModel):
    """The final that a deployed network comes from."""

    study: _WORD
    run: _WORD
    """The run's key in the study."""
    arm_rule: _WORD
    """How its arm was chosen."""
    seed: _Count
    seed_rule: _WORD
    """How the seed was chosen among the finals."""


class FileCheck(_StrictModel):
    """A file's agreement with torch on test images."""

    bytes: _Count
    images: _Count
    same_top1: _Count
    """Images on which the file and torch name the same class."""
    largest_difference: Annotated[float, Field(ge=0)]
    """The largest absolute difference of their logits."""
    test_accuracy: Percent
    """The file's own accuracy on these images, in percent."""


class Deployment(_StrictModel):
    """The part of the configuration that `lpstudy.load` reads."""

    format: Literal[1] = 1
    model: ModelDescription
    origin: Origin
    test_accuracy: Percent
    """Of the weights with torch in float32, measured at deployment on `test_images`."""
    test_images: _Count
    files: dict[_WORD, FileCheck] = Field(default_factory=dict)
    problems: dict[_WORD, _WORD] = Field(default_factory=dict)
    """Files that could not be written, and why."""


class Config(_StrictModel):
    """The whole file; the fields beside `lpstudy` are timm's."""

    architecture: _WORD
    """timm's name of the network, or lpstudy's label of one of another family."""
    num_classes: _Count
    num_features: _Count | None = None
    label_names: tuple[str, ...]
    pretrained_cfg: dict[str, Any]
    lpstudy: Deployment

    def to_json(self) -> str:
        """The content of the file."""
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"


def config_of(model: TrainedModel, deployment: Deployment) -> Config:
    """The configuration of a network."""
    description, network = model.description, model.network
    is_timm = isinstance(network, TimmNet)
    design = description.architecture.design
    return Config(
        architecture=design.partition(".")[0] if is_timm and design else description.architecture.label(),
        num_classes=len(description.class_names),
        num_features=int(network.network.num_features) if isinstance(network, TimmNet) else None,
        label_names=description.class_names,
        pretrained_cfg=_input_config(description) | (_timm_layers(network) if is_timm else {}),
        lpstudy=deployment,
    )


def read_config(folder: Path) -> Config:
    """Read and validate a folder's configuration.

    Raises:
        FileNotFoundError: There is none.
        OSError: It cannot be read.
        ValueError: It is not as lpstudy writes it; one line.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no deployed network, for it has no {CONFIG}")
    with path.open("rb") as file:
        content = file.read(2 * LARGEST_DESCRIPTION + 1)
    if len(content) > 2 * LARGEST_DESCRIPTION:
        raise ValueError(f"{path}: has more than {2 * LARGEST_DESCRIPTION} bytes")
    try:
        return Config.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(printable_line(f"{path}: {problem_of(error)[:400]}")) from None


def _input_config(description: ModelDescription) -> dict[str, Any]:
    """The images that the network expects, in timm's words."""
    side = description.input_shape[1]
    return {
        "input_size": list(description.input_shape),
        "mean": list(description.mean),
        "std": list(description.std),
        "interpolation": "bilinear",
        "crop_pct": side / description.resize if description.resize else 1.0,
        "crop_mode": "center",
        "num_classes": len(description.class_names),
    }


def _timm_layers(network: Any) -> dict[str, Any]:
    """What timm needs to load the weights into a network of this size."""
    own = network.network.pretrained_cfg
    names = {key: own[key] for key in ("first_conv", "classifier", "fixed_input_size") if own.get(key)}
    return {**names, "custom_load": False, "pool_size": None}
