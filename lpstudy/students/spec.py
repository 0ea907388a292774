"""The spec of a network in a study file: its family and its size."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lpstudy.students import maxout
from lpstudy.students.families import FAMILIES, add_family_names, family_names
from lpstudy.students.module_family import MODULE, check_module, module_label
from lpstudy.students.sizes import SIZE_KEYS, check_sizes, label_of_size
from lpstudy.students.stem import stem_of
from lpstudy.students.timm import check_timm

DEEPEST, WIDEST = 1024, 2**16
"""Limits of depth and width, beyond any real network: a check of a spec builds it without weights."""


Interpolation = Literal["bilinear", "bicubic", "nearest"]
"""How images are resized."""


def _known_family(name: str) -> str:
    if name not in family_names():
        names = [repr(family) for family in family_names()]
        raise ValueError(f"must be {', '.join(names[:-1])} or {names[-1]} but got {name!r}")
    return name


def _text(path: object) -> object:
    return str(path) if isinstance(path, Path) else path


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_Layer = Annotated[str, Field(min_length=1)]
LayerNames = Annotated[Annotated[tuple[_Layer, ...], Field(min_length=1)] | None, BeforeValidator(_tuple)]
"""A list of the names of submodules, or None."""


def without_layers(table: dict[str, Any]) -> dict[str, Any]:
    """A network's table without the key `layers` where it is None, so that hashes of other networks stay."""
    return {key: value for key, value in table.items() if key != "layers" or value is not None}


class ReusedHead(BaseModel):
    """The teacher whose classifier a student ends in: its network and the size of its images."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    family: str
    design: str | None = None
    depth: int | None = None
    width: int | None = None
    stem: Literal["small"] | None = None
    image_size: int | None = None
    """Height and width in pixels of its images; None: those of the student's images."""
    layers: LayerNames = None

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_layers(handler(self))

    @property
    def network(self) -> "StudentSpec":
        """The teacher's network."""
        return StudentSpec.model_validate(self.model_dump(exclude={"image_size"}))

    def input_shape(self, student: tuple[int, int, int]) -> tuple[int, int, int]:
        """Channels, height and width of the teacher's images, from those of the student's."""
        return student if self.image_size is None else (student[0], self.image_size, self.image_size)


class StudentSpec(BaseModel):
    """A student or a teacher: a design by name, or a depth and a width within its family."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    family: Annotated[str, AfterValidator(_known_family), Field(json_schema_extra=add_family_names)]
    """maxout: FitNets' networks; convnet: 3 x 3 convolutions with batch norm; wrn: wide residual networks;
    resnet, resnet50_small, vgg, mobilenetv2, shufflenetv1, shufflenetv2: their forms for small images;
    torchvision, timm: their classification models; module: a network of code of one's own (--import)."""
    design: str | None = None
    """maxout: fitnet1 to fitnet4 or teacher; torchvision, timm: the name of a classification model; module:
    `module:name`, the function that makes the network and the file that --import names."""
    depth: int | None = Field(default=None, ge=1, le=DEEPEST)
    """maxout, convnet: convolutional layers; wrn: 6n + 4; resnet: 6n + 2; vgg: 8, 11, 13, 16, 19."""
    width: int | None = Field(default=None, ge=1, le=WIDEST)
    """maxout, convnet, vgg: channels of the first group or stage (VGG's paper has 64); wrn: the widening
    factor; resnet: the factor of 16-32-64 filters, with a stem of 8 x width and at least 16 (depth 8, width 4
    is ResNet8x4); mobilenetv2, shufflenetv1, shufflenetv2: percent of the paper's channels (MobileNetV2 in
    the distillation tables has 50). module: what its function takes as depth and width."""
    layers: LayerNames = None
    """module: the names of the submodules whose outputs methods may compare, with dots (`body.layer2`); by
    default the children with outputs of shape (m, channels, height, width)."""
    stem: Literal["small"] | None = None
    """torchvision: `small` for images of 32 pixels or so, a first convolution of 3x3 with stride 1 and no max
    pool after it; by default the model's own, which is made for images of 224 pixels."""
    weights: Annotated[str | None, BeforeValidator(_text)] = None
    """A file of safetensors or of torch (a state dict or a checkpoint) from which every trial and final
    starts, or a folder with weights.safetensors or model.safetensors; relative to the working directory
    unless absolute. Where the file has another class count than the data, its last layer is new. Depth and
    width cannot be searched with it."""
    head: ReusedHead | None = None
    """The teacher whose classifier it ends in, behind a projector, in place of its own; a method says so, not
    a study file."""

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        """Each family has its own way to state a size."""
        has_size = self.depth is not None or self.width is not None
        if self.layers is not None and self.family != MODULE:
            raise ValueError(f"layers: is for family module, not for {self.family}")
        if self.design is not None and has_size and self.family != MODULE:
            raise ValueError(f"design = {self.design!r} has its own size: give a design, or depth and width")
        if self.stem is not None and self.family != "torchvision":
            raise ValueError(f"stem = {self.stem!r} is for family torchvision, not for {self.family}")
        match self.family:
            case "module":
                check_module(self.design, self.sizes)
            case family if family in FAMILIES:
                pass  # its function checks the size
            case "torchvision":
                if self.design is None:
                    raise ValueError("family torchvision needs design = the name of one of its models")
                _check_torchvision(self.design)
                if self.stem is not None:
                    stem_of(self.design)
            case "timm":
                if self.design is None:
                    raise ValueError("family timm needs design = the name of one of its models")
                check_timm(self.design)
            case "maxout" if self.design is not None:
                if self.design not in maxout.DESIGNS:
                    names = ", ".join(maxout.DESIGNS)
                    raise ValueError(f"unknown maxout design {self.design!r}: the known ones are {names}")
            case family:
                if self.design is not None:
                    keys = " and ".join(SIZE_KEYS[family]) or "nothing else"
                    raise ValueError(f"family {family} has no designs but got {self.design!r}: give {keys}")
                check_sizes(family, self.depth, self.width)
        return self

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_layers(handler(self))

    @property
    def sizes(self) -> dict[str, int]:
        """Depth and width, where they are given."""
        sizes = {"depth": self.depth, "width": self.width}
        return {key: size for key, size in sizes.items() if size is not None}

    def label(self) -> str:
        """Short name for tables and arms, of [a-z0-9_-] alone: fitnet1, maxout-d9-w16, wrn-16-2, resnet20.

        A student that ends in the teacher's classifier has another size, and so another name.
        """
        name = self._own_label()
        return name if self.head is None else f"{name}-teacher-head"

    def _own_label(self) -> str:
        if self.family == MODULE and self.design is not None:
            return label_of_size(module_label(self.design), self.depth, self.width)
        if self.design is not None:
            name = "fitnet-teacher" if self.design == "teacher" else self.design.replace(".", "-")
            return name if self.stem is None else f"{name}-{self.stem}-stem"
        return label_of_size(self.family, self.depth, self.width)


def _check_torchvision(design: str) -> None:
    try:
        from torchvision import models
    except ModuleNotFoundError as error:
        raise ValueError(
            "family torchvision needs the package torchvision, which is not installed"
        ) from error
    designs = models.list_models(module=models)
    if design not in designs:
        matches = get_close_matches(design, designs, n=5)
        hint = f"did you mean {', '.join(matches)}" if matches else f"the known ones are {', '.join(designs)}"
        raise ValueError(f"unknown torchvision design {design!r}: {hint}")
