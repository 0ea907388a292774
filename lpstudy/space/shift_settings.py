"""The section [shift] of a study file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lpstudy.data import Data, DataSpec, load
from lpstudy.data.corruption_files import corruption_files
from lpstudy.data.corruptions import SEVERITIES, Corruption
from lpstudy.data.shifts import OFFICIAL, OTHER, other_test_set
from lpstudy.data.spec import RESIZED

_Severity = Annotated[int, Field(ge=1, le=5)]


class ShiftData(BaseModel):
    """Another data set with the same classes, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    """Its name in the report."""
    kind: Literal["image_folder", "parquet", "npz", "webdataset", "digits", "mnist", "cifar10", "cifar100"]
    """As in [data]."""
    root: Annotated[str, Field(min_length=1)]
    """Its folder, file or URL, as in [data]. Its test part is read."""
    image_column: str | None = Field(default=None, min_length=1)
    """parquet: the column of the images."""
    label_column: str | None = Field(default=None, min_length=1)
    """parquet: the column of the labels."""

    def spec(self, study: Data) -> DataSpec:
        """How it is read: its images as large as those of a study."""
        side = study.input_shape[1] if self.kind in RESIZED else None
        resize = study.resize if self.kind in RESIZED else None
        return DataSpec(
            kind=self.kind,
            root=self.root,
            image_size=side,
            resize=resize,
            image_column=self.image_column,
            label_column=self.label_column,
        )


class ShiftSettings(BaseModel):
    """On which shifted test images the finals' accuracy is measured as well, once, after their last epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    corruptions: Annotated[tuple[Corruption, ...], Field(max_length=6, strict=False)] = ()
    """Corruptions of C-lite: noise, blur, brightness, contrast, pixelate, jpeg. Empty: none. Each final reads
    the test set once more for every corruption and severity, and makes the images on the CPU."""
    severities: Annotated[tuple[_Severity, ...], Field(min_length=1, max_length=5, strict=False)] = SEVERITIES
    """Severities of these and of cifar_c, from 1, weak, to 5."""
    cifar_c: Annotated[str | None, Field(min_length=1)] = None
    """A folder of the official files of CIFAR-10-C or CIFAR-100-C: `labels.npy`, and for each corruption a
    `.npy` of 50,000 images. All of them are read; the images must be those of the test set, in its order."""
    data: Annotated[tuple[ShiftData, ...], Field(max_length=20, strict=False)] = ()
    """Other data sets with the study's classes, matched by name: a list of tables `[[shift.data]]`."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for key in ("corruptions", "severities"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: names one twice: {', '.join(map(str, values))}")
        twice = [name for name, count in Counter(one.name for one in self.data).items() if count > 1]
        if twice:
            raise ValueError(f"data: two are named {twice[0]}")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether nothing is measured on shifted images."""
        return not (self.corruptions or self.cifar_c or self.data)

    def pairs(self) -> tuple[tuple[Corruption, int], ...]:
        """Each corruption of C-lite with each severity."""
        return tuple((name, severity) for name in self.corruptions for severity in self.severities)

    def located(self) -> Self:
        """The same by paths that do not depend on the working directory."""
        official = None if self.cifar_c is None else str(Path(self.cifar_c).expanduser().absolute())
        data = tuple(
            one if "://" in one.root else one.model_copy(update={"root": str(Path(one.root).absolute())})
            for one in self.data
        )
        return self.model_copy(update={"cifar_c": official, "data": data})

    def apply(self, data: Data) -> Data:
        """The data with their shifted test sets; call it while the images are on the CPU.

        Raises:
            ValueError: A folder, file or class does not fit the study's test set.
            FileNotFoundError: A data set is not there.
        """
        shifted = data.with_shifts(self.pairs())
        splits = dict(shifted.shifts)
        if self.cifar_c is not None:
            folder = Path(self.cifar_c).expanduser()
            files = corruption_files(folder, self.severities, data.test.labels, data.input_shape)
            splits |= {
                f"{OFFICIAL}{name}": replace(data.test, pixels=pixels) for name, pixels in files.items()
            }
        for one in self.data:
            try:
                other = load(one.spec(data))
            except (ValueError, FileNotFoundError) as error:
                raise ValueError(f"shift.data: {one.name}: {error}") from None
            splits[f"{OTHER}{one.name}"] = other_test_set(one.name, other, data)
        return replace(shifted, shifts=splits)
