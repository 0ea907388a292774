"""The [data] table of a study file."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lpstudy.data.imagenet import SIDE
from lpstudy.data.registry import check_kind, known_kinds
from lpstudy.folder import URL
from lpstudy.imported_names import PATTERN
from lpstudy.locations import parse_path

RESIZED = ("imagenet", "image_folder", "parquet", "webdataset")
"""The kinds that are images of any size, which can be streamed."""
ALL_RESIZED = f"{', '.join(RESIZED[:-1])} and {RESIZED[-1]}"
REST = "rest"
"""The word for the images of the training part beyond labels_per_class."""
NATIVE_SIDES = {"digits": 8, "mnist": 28, "cifar10": 32, "cifar100": 32}
"""Side in pixels of the images of the data sets that have one size."""


def _known(kind: str) -> str:
    if not check_kind(kind):
        *first, last = (repr(name) for name in known_kinds())
        allowed = f"{', '.join(first)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": allowed})
    return kind


def _list_kinds(schema: dict[str, Any]) -> None:
    own = {"type": schema.pop("type"), "pattern": f"^{PATTERN}$"}
    schema["oneOf"] = [{"enum": [*known_kinds()]}, own]


def _url(text: str) -> str:
    if not URL.match(text):
        raise ValueError("is no URL")
    return text


def _absolute(place: str) -> str:
    return str(parse_path(place).absolute())


Url = Annotated[str, AfterValidator(_url)]
PLACES = {"type": ["string", "array"], "items": {"type": "string"}, "minItems": 1, "minLength": 1}
Pair = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=2, max_length=2)]
PositivePair = Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=2, max_length=2)]


class DataSpec(BaseModel):
    """A data set, how it is split and how it is augmented."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Annotated[str, AfterValidator(_known), Field(json_schema_extra=_list_kinds)]
    """Which data set. image_folder: `train/CLASS/` and `test/CLASS/` below root; imagenet: `train`, `val`;
    parquet, npz and webdataset (tar shards): docs/images.md; `module:name`: a function, or data set of
    torch, in a file that --import names."""
    root: Annotated[Path, Field(strict=False)] | Url | None = None
    """The folder that holds the data; relative to the working directory unless absolute. parquet, npz and
    webdataset: also a file, a pattern with `*`, or a URL that fsspec reads."""
    validation_fraction: float = Field(default=0.2, gt=0.0, le=0.5)
    """The share of every class of the training set that is set aside to choose hyperparameters. A
    data set with a validation part of its own, such as `val/` beside `test/`, keeps that one."""
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    """Seeds the split, the choice of labels_per_class and the order of the views; trials have seeds too."""
    labels_per_class: int | None = Field(default=None, ge=2)
    """Train on this many images of each class only; the validation part and the test set stay whole."""
    unlabelled: Annotated[str | tuple[str, ...] | None, WithJsonSchema(PLACES)] = None
    """Images without labels: `rest`, those of the training part beyond labels_per_class; or the path of a
    folder of images, of parquet files or of shards, relative to the working directory unless absolute; or a
    list of these. The terms of the teacher learn from all images, CE from the labelled ones alone."""
    labelled_fraction: float | None = Field(default=None, gt=0.0, lt=1.0)
    """With unlabelled: the share of each batch that has labels, by default a half. Back-prop trains on that
    share alone, in as many steps."""
    image_size: int | None = Field(default=None, ge=8, le=1024)
    """Pixels of a side. imagenet: 224 by default. image_folder, parquet and webdataset: by default the size
    that all images share.
    The other kinds keep their own (digits 8, mnist 28, cifar10 and cifar100 32)."""
    resize: int | None = Field(default=None, ge=9, le=4096)
    """With image_size, or imagenet: pixels of the shorter side before the centre square of image_size is cut
    out, as in the usual test of ImageNet (256 for 224); by default image_size itself."""
    pad: int = Field(default=0, ge=0, le=64)
    """Augmentation: crops of the image padded by this many black pixels on every side."""
    flip: bool = False
    """Augmentation: mirrored left to right, or not."""
    crop: Literal["pad", "resized"] = "pad"
    """Augmentation: crops of the padded image, or `resized`: crops of random area and aspect ratio, resized
    to the image's size, as in the usual training on ImageNet. Files that
    stream are cut from their whole image, images in memory from what is held of them."""
    scale: Pair | None = None
    """With crop = "resized": lowest and highest share of the image's area, by default [0.08, 1.0]."""
    ratio: PositivePair | None = None
    """With crop = "resized": lowest and highest ratio of width to height, by default [0.75, 1.3333]."""
    augment: Literal["none", "randaugment", "trivialaugment"] = "none"
    """Augmentation of colours and positions after crop and flip: RandAugment, or TrivialAugment in its wide
    range, with torchvision's operations and magnitudes."""
    operations: int | None = Field(default=None, ge=1, le=14)
    """With randaugment: operations on each image, by default 2."""
    magnitude: int | None = Field(default=None, ge=0, le=30)
    """With randaugment: how strong they are, by default 9."""
    erase: float = Field(default=0.0, ge=0.0, le=1.0)
    """Augmentation: the probability that a box of 2 to 33 % of the image becomes the mean colour."""
    mixup: float = Field(default=0.0, ge=0.0, le=10.0)
    """Above 0: each image of a batch is mixed with another one, with shares from Beta(mixup, mixup), and CE
    is that of both labels with these shares. Needs [teacher] online = true, for a bank has no outputs of
    mixed images. A teacher that the study trains learns from mixed images too."""
    cutmix: float = Field(default=0.0, ge=0.0, le=10.0)
    """Likewise with a box of another image in each image. With both, each batch has one of the two."""
    streaming: bool | None = None
    """Decode files on the fly (true) or once into arrays (false). By default imagenet streams; image_folder,
    parquet and webdataset do where the decoded images would take 4 GiB or more, or where crop = "resized" and
    image_size is set."""
    image_column: str | None = Field(default=None, min_length=1)
    """parquet: the column of the images, by default `image` or `img`."""
    label_column: str | None = Field(default=None, min_length=1)
    """parquet: the column of the labels, by default `label`, `labels` or `fine_label`."""

    @property
    def labelled_share(self) -> float:
        """The share of a batch that has labels, where there are unlabelled images."""
        return 0.5 if self.labelled_fraction is None else self.labelled_fraction

    @property
    def adds_rest(self) -> bool:
        """Whether images of the training part beyond labels_per_class count as unlabelled."""
        return REST in self._places

    @property
    def unlabelled_words(self) -> str | None:
        """The images without labels, in words that depend on no path."""
        if self.unlabelled is None:
            return None
        return " ".join([REST] * self.adds_rest + ["paths"] * bool(self.unlabelled_paths))

    @property
    def unlabelled_paths(self) -> tuple[str, ...]:
        """Where images lie that nobody has labelled."""
        return tuple(place for place in self._places if place != REST)

    def located(self) -> "DataSpec":
        """The same data set by paths that do not depend on the working directory."""
        places = [place if place == REST or URL.match(place) else _absolute(place) for place in self._places]
        return self.model_copy(
            update={"unlabelled": places[0] if len(places) == 1 else tuple(places) or None}
        )

    @property
    def _places(self) -> tuple[str, ...]:
        return (self.unlabelled,) if isinstance(self.unlabelled, str) else self.unlabelled or ()

    @property
    def mixes(self) -> bool:
        """Whether images are mixed."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def crop_scale(self) -> tuple[float, float]:
        """Lowest and highest share of the area of a resized crop."""
        return (0.08, 1.0) if self.scale is None else (self.scale[0], self.scale[1])

    @property
    def crop_ratio(self) -> tuple[float, float]:
        """Lowest and highest ratio of width to height of a resized crop."""
        return (3 / 4, 4 / 3) if self.ratio is None else (self.ratio[0], self.ratio[1])

    @property
    def operation_count(self) -> int:
        """The number of RandAugment's operations on each image."""
        return 2 if self.operations is None else self.operations

    @property
    def operation_magnitude(self) -> int:
        """RandAugment's magnitude, a number of 31 from 0 on."""
        return 9 if self.magnitude is None else self.magnitude

    @field_validator("unlabelled", mode="before")
    @classmethod
    def _list_of_places(cls, value: Any) -> Any:
        """Convert the lists of TOML and JSON; a list of one is that one."""
        places = [*value] if isinstance(value, list | tuple) else [value]
        texts = [place for place in places if isinstance(place, str) and place.strip()]
        if value is not None and (not places or len({*texts}) < len(places)):
            raise ValueError(f"must be a path, {REST!r} or a list of distinct ones but got {value!r}")
        return places[0] if len(places) == 1 else tuple(places)

    @field_validator("scale", "ratio", mode="before")
    @classmethod
    def _pair(cls, values: Any) -> Any:
        """Convert the lists of TOML and JSON."""
        if isinstance(values, list | tuple) and len(values) == 2 and values[0] > values[1]:
            raise ValueError(f"must be [lowest, highest] but got {list(values)}")
        return tuple(values) if isinstance(values, list) else values

    @model_validator(mode="after")
    def _check_augmentation(self) -> Self:
        if self.crop == "resized":
            if self.pad:
                raise ValueError("pad: has no effect with crop = 'resized'")
        elif self.scale is not None or self.ratio is not None:
            key = "ratio" if self.scale is None else "scale"
            raise ValueError(f"{key}: has no effect without crop = 'resized'")
        if self.augment != "randaugment":
            for key in ("operations", "magnitude"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key}: has no effect without augment = 'randaugment'")
        return self

    @model_validator(mode="after")
    def _check_resize(self) -> Self:
        if self.resize is None:
            return self
        side = self.image_size or (SIDE if self.kind == "imagenet" else None)
        if self.kind not in RESIZED or side is None:
            raise ValueError(f"resize: needs image_size, with {ALL_RESIZED}")
        if self.resize <= side:
            raise ValueError(f"resize: must be above image_size = {side} but got {self.resize}")
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        native = NATIVE_SIDES.get(self.kind)
        if self.kind not in RESIZED:
            if self.image_size not in (None, native):
                raise ValueError(
                    f"image_size is {self.image_size}, but images of {self.kind} keep their"
                    f" {'size' if native is None else f'{native} pixels'}"
                    f" (only {ALL_RESIZED} are resized)"
                )
            if self.streaming:
                raise ValueError(f"streaming is for {ALL_RESIZED}, {self.kind} is held in memory")
        if self.adds_rest and self.labels_per_class is None:
            raise ValueError("unlabelled: needs labels_per_class, beyond which images count as unlabelled")
        for key in ("image_column", "label_column"):
            if self.kind != "parquet" and getattr(self, key) is not None:
                raise ValueError(f"{key}: has no effect without kind = 'parquet'")
        if self.labelled_fraction is not None and self.unlabelled is None:
            raise ValueError("labelled_fraction: has no effect without unlabelled")
        side = native or self.image_size
        if side is not None and self.pad >= side:
            raise ValueError(f"pad is {self.pad}, it must be below the image's side of {side} pixels")
        return self
