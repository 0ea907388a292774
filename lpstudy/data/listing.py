"""Lists of the files below train/<class>/* and test/<class>/*, made without opening any file.

Names of folders and files may be hostile. They are compared, hashed and displayed, and never become part of a
path that is written to.
"""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lpstudy.data.images import SUFFIXES, display_path
from lpstudy.data.progress_line import with_progress

SYSTEM_FILES = (
    b"thumbs.db", b"ehthumbs.db", b"ehthumbs_vista.db", b"desktop.ini", b"$recycle.bin", b"__macosx",
    b"icon\r", b"@eadir", b"#recycle", b"#snapshot", b"@recycle", b"@recently-snapshot", b"lost+found",
    b"__pycache__",
)  # fmt: skip
"""Names, in lower case, of files and folders that Windows, macOS and file servers create by themselves."""
ZONE_SUFFIX = b":zone.identifier"
"""The end of the name of a note that Windows stores next to a file from the network."""


@dataclass(frozen=True, eq=False, slots=True)
class Files:
    """The n image files of one part. Arrays, not lists, so that forked workers share their memory."""

    paths: npt.NDArray[np.bytes_]
    """Relative to the root, as the file system names them; shape (n,)."""
    labels: npt.NDArray[np.int64]
    """Shape (n,)."""
    status: npt.NDArray[np.int64]
    """Size in bytes, times of the last change of content and of status in ns; shape (n, 3)."""

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Sizes in bytes, shape (n,)."""
        return np.ascontiguousarray(self.status[:, 0])

    def select(self, rows: npt.NDArray[np.int64]) -> "Files":
        """The files at the given rows."""
        return Files(self.paths[rows], self.labels[rows], self.status[rows])


@dataclass(frozen=True, eq=False, slots=True)
class Listing:
    """A data set's files and classes."""

    name: str
    """The folder's name."""
    root: bytes
    """The folder, its links resolved."""
    class_names: tuple[str, ...]
    """Names of the class folders in the order of their bytes; the position is the label."""
    train: Files
    test: Files
    remarks: tuple[str, ...] = ()
    """One line for each part of the folder that is ignored."""

    def path(self, relative: bytes) -> bytes:
        """The full path of a file."""
        return os.path.join(self.root, bytes(relative))

    def source(self) -> str:
        """SHA-256 of names, sizes and times; equal while the files on this machine are unchanged."""
        return self._hash(columns=3)

    def content(self) -> str:
        """SHA-256 of names and sizes: the same for every copy, but blind to a change that keeps the size."""
        return self._hash(columns=1)

    def _hash(self, columns: int) -> str:
        total = hashlib.sha256()
        for files in (self.train, self.test):
            paths = (
                np.array([normal_form(bytes(path)) for path in files.paths]) if columns == 1 else files.paths
            )
            for values in (paths, files.labels, np.ascontiguousarray(files.status[:, :columns])):
                total.update(f"{values.dtype}{values.shape}".encode() + values.tobytes())
        return total.hexdigest()


def list_files(kind: str, root: Path, *, test_folders: tuple[str, ...], progress: bool) -> Listing:
    """List the files below root.

    Args:
        kind: The data set's name, for messages.
        root: The folder.
        test_folders: Possible names of the test set's folder; the first that exists is used.
        progress: Show a progress line.

    Raises:
        FileNotFoundError: The folder, its training set or its test set is missing.
        ValueError: A class is empty or in one set only, a file is no image, a link leads out of the folder.
    """
    expected = f"train/<class>/* and {' or '.join(f'{name}/<class>/*' for name in test_folders)}"
    tests = [name for name in test_folders if (root / name).is_dir()]
    if not (root / "train").is_dir() or not tests:
        raise FileNotFoundError(f"{kind} is not in {str(root)!r}: expected there {expected}")
    walk = _Walk(os.fsencode(root.resolve()), progress)
    train_class_folders = walk.classes(b"train")
    test_folder, remarks = _first_labelled_folder(walk, tests, train_class_folders)
    sets = ("train", test_folder)
    test_class_folders = walk.classes(os.fsencode(test_folder))
    for name in sorted({*train_class_folders} ^ {*test_class_folders}):
        present, absent = sets if name in train_class_folders else sets[::-1]
        raise ValueError(f"class {display_path(name)} of {str(root)!r} is in {present} but not in {absent}")
    if len(train_class_folders) < 2:
        count = len(train_class_folders)
        raise ValueError(f"{str(root / 'train')!r} has {count} class folder, a data set needs two")
    names = tuple(printable_name(name) for name in train_class_folders)
    train = walk.files(b"train", train_class_folders)
    test = walk.files(os.fsencode(test_folder), test_class_folders)
    return Listing(
        printable_name(os.path.basename(walk.root)) or kind, walk.root, names, train, test, remarks
    )


def _first_labelled_folder(
    walk: "_Walk", names: list[str], classes: dict[bytes, bytes]
) -> tuple[str, tuple[str, ...]]:
    """The first folder with images of one of the classes, and a remark on those before it.

    Where there is none, the first folder: a later check reports its problem.
    """
    empty: list[str] = []
    for name in names:
        if walk.has_images(os.fsencode(name), classes):
            remark = f"{' and '.join(empty)} has no images in class folders: the test set is {name}"
            return name, (remark,) if empty else ()
        empty.append(name)
    return names[0], ()


@dataclass(frozen=True, slots=True)
class _Walk:
    """Reads the folders below the root."""

    root: bytes
    progress: bool

    def classes(self, folder: bytes) -> dict[bytes, bytes]:
        """Names of the class folders on disk by their normal form, sorted by it.

        Raises:
            ValueError: An image is outside the class folders, or two of them have one name in Unicode.
        """
        folders: dict[bytes, bytes] = {}
        for entry in self._entries(folder):
            if entry.is_dir():
                name = normal_form(entry.name)
                if name in folders:
                    raise ValueError(
                        f"the class folders {folders[name]!r} and {entry.name!r} of"
                        f" {display_path(os.path.join(self.root, folder))} have the same name in Unicode"
                    )
                folders[name] = entry.name
            elif _is_image(entry.name):
                raise ValueError(f"the image {display_path(entry.path)} must lie in the folder of its class")
        return dict(sorted(folders.items()))

    def has_images(self, folder: bytes, classes: Mapping[bytes, bytes]) -> bool:
        """Whether a folder of one of the classes is not empty."""
        return any(
            entry.is_dir()
            and normal_form(entry.name) in classes
            and self._entries(os.path.join(folder, entry.name))
            for entry in self._entries(folder)
        )

    def files(self, folder: bytes, classes: Mapping[bytes, bytes]) -> Files:
        """The images of all classes, sorted by class and name."""
        paths: list[bytes] = []
        labels: list[int] = []
        status: list[tuple[int, int, int]] = []
        what = f"listing {os.fsdecode(folder)}"
        names = with_progress([*classes.values()], what, total=len(classes), progress=self.progress)
        for label, name in enumerate(names):
            class_folder = os.path.join(folder, name)
            entries = sorted(self._entries(class_folder), key=lambda entry: normal_form(entry.name))
            if not entries:
                raise ValueError(
                    f"the class folder {display_path(os.path.join(self.root, class_folder))} has no images"
                )
            for entry in entries:
                info = self._image_info(entry)
                paths.append(os.path.join(class_folder, entry.name))
                labels.append(label)
                status.append((info.st_size, info.st_mtime_ns, info.st_ctime_ns))
        return Files(np.array(paths), np.array(labels, dtype=np.int64), np.array(status, dtype=np.int64))

    def _entries(self, folder: bytes) -> list[os.DirEntry[bytes]]:
        """The entries of a folder without hidden and system files."""
        path = os.path.join(self.root, folder)
        self._stay_inside(path, os.path.islink(path))
        with os.scandir(path) as scan:
            entries = [entry for entry in scan if not _is_system_file(entry.name)]
        for entry in entries:
            self._stay_inside(entry.path, entry.is_symlink())
        return entries

    def _stay_inside(self, path: bytes, is_link: bool) -> None:
        if not is_link:
            return
        target = os.path.realpath(path)
        if os.path.commonpath([target, self.root]) != self.root:
            raise ValueError(
                f"the link {display_path(path)} leads out of the data's folder {display_path(self.root)}"
            )
        if not os.path.exists(target):
            raise ValueError(f"the link {display_path(path)} leads nowhere")

    def _image_info(self, entry: os.DirEntry[bytes]) -> os.stat_result:
        info = entry.stat()
        if not stat.S_ISREG(info.st_mode) or not _is_image(entry.name):
            raise ValueError(
                f"{display_path(entry.path)} is not an image file: class folders hold {' '.join(SUFFIXES)}"
            )
        return info


def printable_name(name: bytes) -> str:
    """A name as text for any file or server: bytes that are not UTF-8 are escaped."""
    return name.decode("utf-8", "backslashreplace")


def normal_form(name: bytes) -> bytes:
    """A name in Unicode's normal form C: systems store one name in different bytes."""
    try:
        return name if name.isascii() else unicodedata.normalize("NFC", name.decode()).encode()
    except UnicodeDecodeError:
        return name


def _is_system_file(name: bytes) -> bool:
    """Whether a name is hidden, or that of a file or folder that systems and servers create by themselves."""
    return name.startswith(b".") or name.lower() in SYSTEM_FILES or name.lower().endswith(ZONE_SUFFIX)


def _is_image(name: bytes) -> bool:
    return name.lower().endswith(tuple(suffix.encode() for suffix in SUFFIXES))
