"""The section [teacher] of a study file."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from lpstudy.space.training import Training
from lpstudy.students import Interpolation, ReusedHead, StudentSpec
from lpstudy.students.spec import LayerNames, without_layers

NETWORK_KEYS = ("family", "design", "depth", "width", "layers", "stem")
"""Keys of [teacher] that describe its network."""
BANK_KEYS = ("views", "online", "bank_gb", "bank_dtype")
"""Keys of [teacher] about its stored outputs, which do not change the teacher itself."""
INPUT_KEYS = ("mean", "std", "image_size", "interpolation")
"""Keys of [teacher] about the images on which a user's weights were trained."""


FEWEST_LABELS = 2
"""The fewest labels of a class."""


def _number_or_all(schema: dict[str, Any]) -> None:
    """The JSON schema of a whole number or `all`."""
    del schema["anyOf"]
    schema |= {"type": ["integer", "string"], "minimum": FEWEST_LABELS, "pattern": "^all$"}


class TeacherSpec(Training):
    """The teacher: trained once per study, or loaded from a user's weights file."""

    family: str
    design: str | None = None
    depth: int | None = None
    width: int | None = None
    layers: LayerNames = None
    stem: Literal["small"] | None = None
    weights: str | None = None
    """A file of safetensors or of torch (a state dict or a checkpoint), or a folder with weights.safetensors
    or model.safetensors; relative to the working directory unless absolute. The teacher is then not trained.
    Where the file has another class count, its last layer is new, and methods that learn from the teacher's
    logits are refused."""
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    """With weights: the mean of each channel, for pixels in 0..1, that was subtracted from the teacher's
    training images. By default the one stored in a file of lpstudy, else that of timm's weights of this name
    for family timm, else the data's own; so too for the next three keys."""
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    """With weights: the standard deviation of each channel, for pixels in 0..1, that divided them."""
    image_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """With weights: height and width in pixels of the teacher's images: the student's crops, resized."""
    interpolation: Interpolation | None = None
    """With weights: how the crops are resized, where they are: `bilinear` and `bicubic` are antialiased and
    Pillow's, but for values beyond 0..255, which stay; `bilinear` where nothing else is known."""
    labels_per_class: Annotated[int | Literal["all"] | None, Field(json_schema_extra=_number_or_all)] = None
    """The number of labelled images of each class that the teacher is trained on, or `all` of the training
    part; by default those of the students. A teacher that knows more is a common reason to distil."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Epochs of the teacher's training."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the teacher's initial weights and batches."""
    views: Annotated[int, Field(ge=1)] | None = None
    """Number of different views of each image, its crops and flips or what else [data] draws; by default one
    per epoch, as far as there are so many and the teacher's outputs for them fit in bank_gb."""
    online: bool = False
    """Run the teacher in each training step, on any view, instead of storing its outputs."""
    bank_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    """Largest size in GB (10^9 bytes) of the teacher's outputs in the cache."""
    bank_dtype: Literal["fp16", "fp32"] = "fp16"
    """Number format of the stored outputs."""

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _list(cls, values: Any) -> Any:
        """Convert TOML's lists, which may contain integers."""
        if not isinstance(values, list | tuple):
            return values
        if any(type(value) in (int, float) and value > 1 for value in values):
            raise ValueError(f"must be of pixels in 0..1, so divide by 255, but got {list(values)}")
        return tuple(float(value) if type(value) is int else value for value in values)

    @model_validator(mode="after")
    def _check_input_keys(self) -> Self:
        keys = [key for key in INPUT_KEYS if getattr(self, key) is not None]
        if keys and self.weights is None:
            raise ValueError(
                f"{keys[0]}: needs weights; a teacher that the study trains sees the students' images"
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std: give both or neither")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(
                f"mean and std: must have the same length but have {len(self.mean)} and {len(self.std)}"
            )
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        labels = self.labels_per_class
        if labels is not None and self.weights is not None:
            raise ValueError("labels_per_class: has no effect with weights, which are not trained")
        if isinstance(labels, int) and labels < FEWEST_LABELS:
            raise ValueError(f"labels_per_class: must be at least {FEWEST_LABELS} or 'all' but got {labels}")
        return self

    @model_validator(mode="after")
    def _check_training(self) -> Self:
        self.check(self.epochs)
        return self

    @model_validator(mode="after")
    def _check_views(self) -> Self:
        if self.online and self.views is not None:
            raise ValueError("views: has no effect with online = true, which shows every view")
        return self

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        _ = self.network
        return self

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_layers(handler(self))

    @property
    def network(self) -> StudentSpec:
        """The teacher's network."""
        return StudentSpec.model_validate({key: getattr(self, key) for key in NETWORK_KEYS})

    @property
    def head(self) -> ReusedHead:
        """What a student that ends in this teacher's classifier says of it."""
        network = self.network.model_dump(include=set(NETWORK_KEYS))
        return ReusedHead(**network, image_size=self.image_size)

    @property
    def training(self) -> Training:
        """The settings of the teacher's training."""
        return Training.model_validate({key: getattr(self, key) for key in Training.model_fields})
