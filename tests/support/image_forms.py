"""One data set in the forms that other tools write: a folder, parquet, npz and tar shards."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Parts = Mapping[str, tuple[Pixels, Labels]]
"""Images of shape (n, 3, height, width) and labels, by the name of the part."""


def png(image: Pixels) -> bytes:
    """An image as the bytes of a PNG, which loses nothing."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "PNG")
    return buffer.getvalue()


def write_tree(root: Path, parts: Parts, names: Sequence[str]) -> None:
    """Folders of classes."""
    for part, (images, labels) in parts.items():
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = root / part / names[label] / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image))


def hub_schema(names: Sequence[str]) -> pa.Schema:
    """The schema that Hugging Face's `datasets` writes, with its metadata."""
    features = {"image": {"_type": "Image"}, "label": {"names": [*names], "_type": "ClassLabel"}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([("image", image), ("label", pa.int64())], metadata=metadata)


def hub_rows(images: Pixels, labels: Labels) -> dict[str, list[Any]]:
    """The columns that `datasets` writes."""
    encoded = [{"bytes": png(image), "path": f"{number}.png"} for number, image in enumerate(images)]
    return {"image": encoded, "label": labels.tolist()}


def write_table(path: Path, columns: Mapping[str, Any], schema: pa.Schema | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(dict(columns), schema=schema), path, row_group_size=7)


def write_parquet(root: Path, parts: Parts, names: Sequence[str]) -> None:
    """Files as on the Hub; the training set is cut into two."""
    for part, (images, labels) in parts.items():
        shards = 2 if part == "train" else 1
        for shard, rows in enumerate(np.array_split(np.arange(len(labels)), shards)):
            path = root / f"data/{part}-{shard:05}-of-{shards:05}.parquet"
            write_table(path, hub_rows(images[rows], labels[rows]), hub_schema(names))


def write_npz(path: Path, parts: Parts, names: Sequence[str]) -> None:
    """One file as MedMNIST has it, with class names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"class_names": np.array(names)}
    for part, (images, labels) in parts.items():
        arrays[f"{part}_images"] = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        arrays[f"{part}_labels"] = labels.astype(np.uint8)[:, None]
    np.savez_compressed(path, **arrays)


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_shards(root: Path, parts: Parts, names: Sequence[str]) -> None:
    """Shards as webdataset's ShardWriter makes them; the training set is cut into two."""
    (root / "classes.txt").parent.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    for part, (images, labels) in parts.items():
        shards = 2 if part == "train" else 1
        for shard, rows in enumerate(np.array_split(np.arange(len(labels)), shards)):
            members = [
                member
                for row in rows
                for member in (
                    (f"{row:06}.png", png(images[row])),
                    (f"{row:06}.cls", str(labels[row]).encode()),
                )
            ]
            write_tar(root / f"{part}-{shard:06}.tar", members)
