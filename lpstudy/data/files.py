"""The images of a data set before they are decoded: files, or regions of larger files."""

import hashlib
import json
import os
import unicodedata
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lpstudy.data.image_region import ImageSource, Region
from lpstudy.outputs import NO_LABEL


@dataclass(frozen=True, eq=False, slots=True)
class Files:
    """The n images of one part. Arrays, not lists, so that forked workers share their memory."""

    root: bytes
    """The folder of the paths, its links resolved."""
    paths: npt.NDArray[np.bytes_]
    """Relative to the root, as the file system names them; shape (n,)."""
    labels: npt.NDArray[np.int64]
    """Shape (n,); NO_LABEL for an image without a label."""
    status: npt.NDArray[np.int64]
    """Size of the image in bytes, times of the file's last change of content and of status in ns; (n, 3)."""
    offsets: npt.NDArray[np.int64] | None = None
    """Position of each image in its file, shape (n,); None: each file is an image."""
    names: npt.NDArray[np.bytes_] | None = None
    """Names of the regions in messages, shape (n,)."""

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Sizes in bytes, shape (n,)."""
        return np.ascontiguousarray(self.status[:, 0])

    def source(self) -> str:
        """SHA-256 of names, sizes and times; equal while the files on this machine are unchanged."""
        total = hashlib.sha256(self.root)
        self.add_to(total, 3)
        return total.hexdigest()

    def add_to(self, total: "hashlib._Hash", columns: int) -> None:
        """Add names, labels, places and the first columns of the status to a hash.

        With one column it is that of every copy: of a file with many images the name alone counts.
        """
        paths = self.paths
        if columns == 1:
            names = map(bytes, paths) if self.offsets is None else map(os.path.basename, map(bytes, paths))
            paths = np.array([normal_form(name) for name in names])
        values = [paths, self.labels, np.ascontiguousarray(self.status[:, :columns])]
        for array in (*values, *([] if self.offsets is None else [self.offsets])):
            total.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())

    def image(self, row: int) -> ImageSource:
        """Where an image is."""
        path = os.path.join(self.root, bytes(self.paths[row]))
        if self.offsets is None:
            return path
        name = path if self.names is None else bytes(self.names[row])
        return Region(path, int(self.offsets[row]), int(self.status[row, 0]), name)

    def select(self, rows: npt.NDArray[np.int64]) -> "Files":
        """The images at the given rows."""
        return replace(
            self,
            paths=self.paths[rows],
            labels=self.labels[rows],
            status=self.status[rows],
            offsets=None if self.offsets is None else self.offsets[rows],
            names=None if self.names is None else self.names[rows],
        )

    def without_labels(self) -> "Files":
        """The same images without their labels."""
        return replace(self, labels=np.full_like(self.labels, NO_LABEL))


def joined(parts: list[Files]) -> Files:
    """The images of several parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    roots = {part.root for part in parts}
    paths = [
        part.paths if len(roots) == 1 else np.array([os.path.join(part.root, bytes(p)) for p in part.paths])
        for part in parts
    ]
    regions = any(part.offsets is not None for part in parts)
    return Files(
        roots.pop() if len(roots) == 1 else b"",
        np.concatenate(paths),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.status for part in parts]),
        np.concatenate([_offsets(part) for part in parts]) if regions else None,
        np.concatenate([_names(part) for part in parts]) if regions else None,
    )


def _offsets(part: Files) -> npt.NDArray[np.int64]:
    """A whole file is a region that starts at 0."""
    return np.zeros(len(part), dtype=np.int64) if part.offsets is None else part.offsets


def _names(part: Files) -> npt.NDArray[np.bytes_]:
    return part.paths if part.names is None else part.names


@dataclass(frozen=True, eq=False, slots=True)
class Listing:
    """A data set's images and classes."""

    name: str
    """The folder's name."""
    class_names: tuple[str, ...]
    """Names of the classes; of class folders in the order of their bytes; the position is the label."""
    train: Files
    test: Files
    remarks: tuple[str, ...] = ()
    """One line for each part of the folder that is ignored or cut."""
    validation: Files | None = None
    """The official validation part; None: it is cut from the training set."""
    unlabelled: Files | None = None
    """Images without labels that are added to the training part."""

    def learning(self) -> Files:
        """The images of the training set, the official validation part and those without labels, in turn."""
        return joined([part for part in (self.train, self.validation, self.unlabelled) if part is not None])

    def source(self) -> str:
        """SHA-256 of names, sizes and times; equal while the files on this machine are unchanged."""
        return self._hash(3)

    def content(self) -> str:
        """SHA-256 of names and sizes: the same for every copy, but blind to a change that keeps the size."""
        return self._hash(1)

    def _hash(self, columns: int) -> str:
        total = hashlib.sha256()
        self.train.add_to(total, columns)
        self.test.add_to(total, columns)
        if self.train.offsets is not None:  # the paths of a folder have the names
            total.update(json.dumps(self.class_names).encode())
        for name, files in (("validation", self.validation), ("unlabelled", self.unlabelled)):
            if files is not None:
                total.update(name.encode())
                files.add_to(total, columns)
        return total.hexdigest()


def normal_form(name: bytes) -> bytes:
    """A name in Unicode's normal form C: systems store one name in different bytes."""
    try:
        return name if name.isascii() else unicodedata.normalize("NFC", name.decode()).encode()
    except UnicodeDecodeError:
        return name
