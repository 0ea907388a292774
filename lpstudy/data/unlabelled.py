"""Images that nobody has labelled, beside a data set: a folder at any depth, parquet files, or shards."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lpstudy.data.array_cache import Entry, load_or_decode, scratch_array
from lpstudy.data.arrays import Arrays
from lpstudy.data.data_files import find_files, place_of
from lpstudy.data.decoding import Cut, decode_into, unlabelled_cut
from lpstudy.data.files import Files, joined
from lpstudy.data.folder_walk import FolderWalk
from lpstudy.data.parquet import list_unlabelled_parquet
from lpstudy.data.shards import list_unlabelled_shards
from lpstudy.data.spec import DataSpec
from lpstudy.folder import URL
from lpstudy.locations import parse_path


def list_unlabelled(spec: DataSpec, *, progress: bool) -> Files | None:
    """The images without labels at the paths that the spec names; None where it names none.

    Raises:
        ValueError: A path does not exist, has no images, or a file there cannot be read.
        UnreachableError: A store cannot be reached.
    """
    try:
        parts = [_list_place(place, progress) for place in spec.unlabelled_paths]
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"[data] unlabelled: {error}") from error
    return joined(parts) if parts else None


def _list_place(place: str, progress: bool) -> Files:
    """The images at one place."""
    is_url = URL.match(place) and not place.lower().startswith("file://")
    root = place if is_url else parse_path(place)
    if ".tar" in _suffixes(root):
        return list_unlabelled_shards(root, progress=progress)
    if ".parquet" in _suffixes(root) or is_url:
        return list_unlabelled_parquet(find_files([root], ".parquet"), progress=progress)
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"{place_of(root)} is no folder, and names no .parquet or .tar file")
    return FolderWalk(os.fsencode(folder.resolve()), progress).all_files()


def _suffixes(root: Path | str) -> Sequence[str]:
    """What is at a place: the suffix of its name, or those of the files right below a folder."""
    if isinstance(root, str) or not root.is_dir():
        return [suffix for suffix in (".tar", ".parquet") if str(root).lower().endswith(suffix)]
    names = [path.name.lower() for path in (*root.iterdir(), *root.glob("data/*"))]
    return [suffix for suffix in (".tar", ".parquet") if any(name.endswith(suffix) for name in names)]


def with_unlabelled(entry: Entry, files: Files, *, progress: bool) -> Entry:
    """A decoded data set with images without labels at the end of its training set, in the cache.

    They get the size and the channels of its images.

    Raises:
        ValueError: An image cannot be read or has no such size, or the images have neither 1 nor 3 channels.
    """
    channels, *size = entry.arrays.train_images.shape[1:]
    if channels not in (1, 3):
        raise ValueError(
            f"[data] unlabelled: the images with labels have {channels} channels, files have 1 or 3"
        )
    cut = unlabelled_cut(Cut(None, None, (size[0], size[1])))
    source = ["with unlabelled", entry.content, entry.arrays.validation, files.source()]
    return load_or_decode(source, partial(_decode, entry.arrays, files, cut, progress))


def _decode(arrays: Arrays, files: Files, cut: Cut, progress: bool) -> Arrays:
    labelled = len(arrays.train_images)
    images = scratch_array((labelled + len(files), *arrays.train_images.shape[1:]))
    images[:labelled] = arrays.train_images
    transparent = decode_into(images[labelled:], files, cut, progress=progress)
    return Arrays(
        images,
        np.concatenate([arrays.train_labels, files.labels]),
        *(arrays.test_images, arrays.test_labels, arrays.class_names),
        arrays.transparent + transparent,
        arrays.validation,
        arrays.remarks,
    )
