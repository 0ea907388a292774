"""Reading of folders of images without opening any file.

Names of folders and files may be hostile. They are compared, hashed and displayed, and never become part of a
path that is written to.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lpstudy.data.files import Files, normal_form
from lpstudy.data.image_region import display_path
from lpstudy.data.images import SUFFIXES
from lpstudy.data.progress_line import with_progress
from lpstudy.outputs import NO_LABEL

SYSTEM_FILES = (
    b"thumbs.db", b"ehthumbs.db", b"ehthumbs_vista.db", b"desktop.ini", b"$recycle.bin", b"__macosx",
    b"icon\r", b"@eadir", b"#recycle", b"#snapshot", b"@recycle", b"@recently-snapshot", b"lost+found",
    b"__pycache__",
)  # fmt: skip
"""Names, in lower case, of files and folders that Windows, macOS and file servers create by themselves."""
DEEPEST = 100
"""Most folders that lie within each other."""
ZONE_SUFFIX = b":zone.identifier"
"""The end of the name of a note that Windows stores next to a file from the network."""


@dataclass(frozen=True, slots=True)
class FolderWalk:
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

    def has_class_folders(self) -> bool:
        """Whether a folder right below the root has images."""
        return any(
            entry.is_dir() and any(_is_image(inner.name) for inner in self._entries(entry.name))
            for entry in self._entries(b"")
        )

    def files(self, folder: bytes, classes: Mapping[bytes, bytes]) -> Files:
        """The images of all classes at any depth, sorted by class, folder and name."""
        paths: list[bytes] = []
        labels: list[int] = []
        status: list[tuple[int, int, int]] = []
        what = f"listing {os.fsdecode(folder)}"
        names = with_progress([*classes.values()], what, total=len(classes), progress=self.progress)
        for label, name in enumerate(names):
            class_folder = os.path.join(folder, name)
            entries = [*self._tree(class_folder)]
            if not entries:
                raise ValueError(
                    f"the class folder {display_path(os.path.join(self.root, class_folder))} has no images"
                )
            for entry in entries:
                paths.append(self._relative(entry))
                labels.append(label)
                status.append(self._status(entry))
        return self._files(paths, labels, status)

    def all_files(self) -> Files:
        """The images at any depth, without labels, sorted by folder and name.

        Raises:
            ValueError: There are none; a file is no image; a link leads out of the folder or to a folder.
        """
        entries = [*with_progress(self._tree(b""), "listing", total=None, progress=self.progress)]
        if not entries:
            raise ValueError(f"{display_path(self.root)} has no images")
        paths = [self._relative(entry) for entry in entries]
        return self._files(paths, [NO_LABEL] * len(paths), [self._status(entry) for entry in entries])

    def _tree(self, folder: bytes, depth: int = 0) -> Iterator[os.DirEntry[bytes]]:
        """The files of a folder, then those of the folders within it, but not of links to folders."""
        if depth > DEEPEST:
            raise ValueError(f"{display_path(self.root)} has folders more than {DEEPEST} deep")
        entries = sorted(self._entries(folder), key=lambda entry: normal_form(entry.name))
        folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from (entry for entry in entries if not entry.is_dir(follow_symlinks=False))
        for inner in folders:
            yield from self._tree(os.path.join(folder, inner.name), depth + 1)

    def _relative(self, entry: os.DirEntry[bytes]) -> bytes:
        """The path below the root; `os.path.relpath` takes 10 us a file."""
        return entry.path[len(self.root) :].lstrip(b"/")

    def _files(self, paths: list[bytes], labels: list[int], status: list[tuple[int, int, int]]) -> Files:
        label_array, times = np.array(labels, dtype=np.int64), np.array(status, dtype=np.int64)
        return Files(self.root, np.array(paths), label_array, times)

    def _entries(self, folder: bytes) -> list[os.DirEntry[bytes]]:
        """The entries of a folder without hidden and system files."""
        path = os.path.join(self.root, folder) if folder else self.root
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

    def _status(self, entry: os.DirEntry[bytes]) -> tuple[int, int, int]:
        info = entry.stat()
        if not stat.S_ISREG(info.st_mode) or not _is_image(entry.name):
            raise ValueError(
                f"{display_path(entry.path)} is not an image file: class folders hold {' '.join(SUFFIXES)}"
            )
        return info.st_size, info.st_mtime_ns, info.st_ctime_ns


def printable_name(name: bytes) -> str:
    """A name as text for any file or server: bytes that are not UTF-8 are escaped."""
    return name.decode("utf-8", "backslashreplace")


def _is_system_file(name: bytes) -> bool:
    """Whether a name is hidden, or that of a file or folder that systems and servers create by themselves."""
    return name.startswith(b".") or name.lower() in SYSTEM_FILES or name.lower().endswith(ZONE_SUFFIX)


def _is_image(name: bytes) -> bool:
    return name.lower().endswith(tuple(suffix.encode() for suffix in SUFFIXES))
