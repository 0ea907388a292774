"""The teacher as a study file describes it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lpstudy.space.training import Training
from lpstudy.students import StudentSpec

BANK_KEYS = ("views", "online", "bank_gb", "bank_dtype")
"""What [teacher] says of its outputs; the teacher itself is the same whatever it says."""


INPUT_KEYS = ("mean", "std", "image_size")
"""What [teacher] says of the images that weights of one's own were trained on."""


class TeacherSpec(Training):
    """The network that is trained once per study and then teaches; or one's own, by its weights file."""

    family: str
    design: str | None = None
    depth: int | None = None
    width: int | None = None
    weights: str | None = None
    """A safetensors file, or a folder with weights.safetensors or model.safetensors; relative to the working
    directory unless absolute. The teacher is then not trained. Where the file has another class count, its
    last layer is new, and methods that learn from the teacher's logits are refused."""
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    """With weights: per channel, of pixels in 0..1, what was subtracted from the images that the teacher was
    trained on. By default as the file says, where lpstudy wrote it; else the data's own."""
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    """With weights: per channel, of pixels in 0..1, what its images were then divided by."""
    image_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """With weights: pixels of a side of the images that the teacher sees, each the very crop that the student
    sees, resized (bilinear, antialiased). By default as the file says, where lpstudy wrote it; else the size
    of the data's images."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """For which the teacher is trained."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of the teacher's initial weights and of its batches."""
    views: Annotated[int, Field(ge=1)] | None = None
    """How many crops and flips of each image the students see; by default one for each epoch, as long as
    there are so many and the teacher's outputs for them fit in bank_gb."""
    online: bool = False
    """Run the teacher at each step, with every crop and flip, rather than once for all runs."""
    bank_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    """How many GB (10^9 bytes) of the teacher's outputs may be kept in the cache."""
    bank_dtype: Literal["fp16", "fp32"] = "fp16"
    """Number format of the outputs that are kept."""

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _list(cls, values: Any) -> Any:
        """TOML has lists, and whole numbers among the others."""
        if not isinstance(values, list | tuple):
            return values
        if any(type(value) in (int, float) and value > 1 for value in values):
            raise ValueError(f"must be of pixels in 0..1, so divide by 255, but got {list(values)}")
        return tuple(float(value) if type(value) is int else value for value in values)

    @model_validator(mode="after")
    def _input(self) -> Self:
        named = [key for key in INPUT_KEYS if getattr(self, key) is not None]
        if named and self.weights is None:
            raise ValueError(
                f"{named[0]}: is for a teacher with weights of its own; one that the study trains sees the"
                " images as the students do"
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std: give both or neither")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean and std: must be as long but have {len(self.mean)} and {len(self.std)}")
        return self

    @model_validator(mode="after")
    def _no_views_online(self) -> Self:
        if self.online and self.views is not None:
            raise ValueError("views: has no effect with online = true, which shows every crop and flip")
        return self

    @model_validator(mode="after")
    def _network(self) -> Self:
        _ = self.network
        return self

    @property
    def network(self) -> StudentSpec:
        """The teacher's network."""
        keys = {"family": self.family, "design": self.design, "depth": self.depth, "width": self.width}
        return StudentSpec.model_validate(keys)

    @property
    def training(self) -> Training:
        """How the teacher is trained."""
        return Training.model_validate({key: getattr(self, key) for key in Training.model_fields})
