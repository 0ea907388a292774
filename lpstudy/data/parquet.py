"""Images in parquet files, as Hugging Face's `datasets` writes them: a column of images and one of labels.

Source: Hugging Face, "datasets" documentation, features `Image` and `ClassLabel`.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lpstudy.data.class_labels import Label
from lpstudy.data.data_files import DataFile, find_files, parts_of, place_name, place_of
from lpstudy.data.downloads import open_file
from lpstudy.data.files import Files, Listing
from lpstudy.data.image_index import ImageIndex, Rows, index_of, signature_of, unlabelled_index
from lpstudy.data.packed_images import Pack, load_or_pack
from lpstudy.data.progress_line import with_progress
from lpstudy.one_line import one_line

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")
"""Names of columns, of which the first that exists is read."""
ROWS = 16
"""Rows that are read at once: images may be large."""
LARGEST_UNPACKED, LARGEST_RATIO = 2**30, 100
"""Bytes that any file may unpack to, and the multiple of its size beyond them; images hardly compress."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read; None: the first of the usual names."""

    image: str | None = None
    label: str | None = None
    labelled: bool = True
    """Whether labels are read."""


def list_parquet(root: Path | str, columns: Columns, *, progress: bool) -> Listing:
    """The images of parquet files, copied into one file of the cache.

    Args:
        root: A file, a folder, a pattern or an fsspec URL: see `find_files`.
        columns: The columns.
        progress: Show a progress line.

    Raises:
        FileNotFoundError: There are no such files.
        ValueError: A file cannot be read, a column is missing or of another type, a label is no class.
    """
    try:
        files = find_files([root], ".parquet")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"parquet is not in {place_of(root)}: {error}; expected there train-*.parquet and test-*.parquet"
        ) from error
    parts = parts_of(files)
    source = ["parquet", signature_of(files), columns.image, columns.label]
    index = load_or_pack(source, partial(_copy, parts, columns, progress))
    return index.listing(place_name(root))


def list_unlabelled_parquet(files: Sequence[DataFile], *, progress: bool) -> Files:
    """The images of parquet files without their labels.

    Raises:
        ValueError: See `list_parquet`.
    """
    source = ["unlabelled parquet", signature_of([*files])]
    columns = Columns(labelled=False)
    return load_or_pack(source, partial(_copy, {"train": files}, columns, progress)).parts["train"]


def _copy(
    parts: Mapping[str, Sequence[DataFile]], columns: Columns, progress: bool, pack: Pack
) -> ImageIndex:
    """Copy the images of all files into a pack."""
    rows: dict[str, Rows] = {}
    declared: list[str] | None = None
    for part, files in parts.items():
        rows[part] = Rows()
        for file in files:
            with open_file(file, progress=progress) as opened:
                try:
                    table = _Table.of(file.name, opened, columns)
                    declared = declared or table.class_names()
                    _copy_rows(table, rows[part], pack, progress=progress)
                except (OSError, ValueError):
                    raise
                except Exception as error:  # pyarrow has errors of its own
                    raise ValueError(f"cannot read {file.name!r}: {one_line(error, 300)}") from error
    if columns.labelled:
        return index_of(b"", rows, declared)
    return unlabelled_index(b"", rows["train"])


def _copy_rows(table: "_Table", rows: Rows, pack: Pack, *, progress: bool) -> None:
    first = pack.length
    images = with_progress(table.rows(), f"reading {table.name}", total=table.count, progress=progress)
    for number, (content, label) in enumerate(images):
        name = f"{table.name} row {number}"
        if content is None:
            raise ValueError(f"{name} has no bytes of an image: embed the images first (docs/images.md)")
        rows.add("", pack.add(content, name), (0, 0), name)
        table.check_unpacked(pack.length - first)
        rows.labels.append(label)


@dataclass(frozen=True, slots=True)
class _Table:
    """An open parquet file."""

    name: str
    size: int
    """Its bytes on the disk."""
    file: Any
    """pyarrow's ParquetFile."""
    image: str
    label: str | None

    @classmethod
    def of(cls, name: str, opened: Any, columns: Columns) -> "_Table":
        """Open a file and check its columns.

        Raises:
            ValueError: It is no parquet file, or a column is missing or of another type.
        """
        import pyarrow as pa
        from pyarrow import parquet

        try:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(0)
            file = parquet.ParquetFile(opened, buffer_size=2**20, pre_buffer=False)
            schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{name!r} is no parquet file, or a damaged one: {one_line(error, 200)}"
            ) from error
        image = _column(name, schema, "image", IMAGE_COLUMNS if columns.image is None else (columns.image,))
        kind = schema.field(image).type
        if pa.types.is_struct(kind) and (at := kind.get_field_index("bytes")) >= 0:
            kind = kind.field(at).type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise ValueError(
                f"{name!r}: column {image!r} has type {str(kind)[:100]}, images are binary,"
                " or a struct with bytes"
            )
        if not columns.labelled:
            return cls(name, size, file, image, None)
        label = _column(name, schema, "label", LABEL_COLUMNS if columns.label is None else (columns.label,))
        kind = schema.field(label).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ValueError(
                f"{name!r}: column {label!r} has type {str(kind)[:100]}, labels are whole numbers or texts"
            )
        return cls(name, size, file, image, label)

    @property
    def count(self) -> int:
        """The number of rows, as the file says."""
        return int(self.file.metadata.num_rows)

    def rows(self) -> Iterator[tuple[bytes | None, Label]]:
        """The bytes of each image and its label."""
        import pyarrow as pa

        columns = [self.image] if self.label is None else [self.image, self.label]
        groups = (self.file.metadata.row_group(number) for number in range(self.file.num_row_groups))
        self.check_unpacked(sum(group.total_byte_size for group in groups))
        try:
            for batch in self.file.iter_batches(batch_size=ROWS, columns=columns, use_threads=False):
                images = batch.column(self.image)
                if pa.types.is_struct(images.type):
                    images = images.field("bytes")
                labels = [None] * len(batch) if self.label is None else batch.column(self.label).to_pylist()
                for image, label in zip(images, labels, strict=True):
                    yield image.as_py(), label
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name!r} is damaged: {one_line(error, 200)}") from error

    def check_unpacked(self, length: int) -> None:
        """Refuse a file that unpacks to far more than its size.

        Raises:
            ValueError: It does.
        """
        limit = LARGEST_UNPACKED + LARGEST_RATIO * self.size
        if length > limit:
            raise ValueError(
                f"{self.name!r} may be a decompression bomb: it has {self.size:,} bytes and unpacks to more"
                f" than {limit:,}"
            )

    def class_names(self) -> list[str] | None:
        """The names of `ClassLabel` in the metadata of `datasets`; None where there are none."""
        content = (self.file.schema_arrow.metadata or {}).get(b"huggingface", b"")
        try:
            names = json.loads(content)["info"]["features"][self.label]["names"]
        except (TypeError, ValueError, KeyError, RecursionError):
            return None
        return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _column(name: str, schema: Any, what: str, allowed: tuple[str, ...]) -> str:
    """The first column that exists."""
    for column in allowed:
        if schema.names.count(column) == 1:
            return column
    columns = ", ".join(repr(column) for column in schema.names[:20])
    raise ValueError(
        f"{name!r} has no column {' or '.join(repr(column) for column in allowed)} but {columns[:300]}:"
        f" name it by {what}_column"
    )
