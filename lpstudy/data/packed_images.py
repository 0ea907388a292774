"""Images of archives that cannot be read at any position, copied as they are into one file of the cache."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lpstudy.cache import cache_folder
from lpstudy.data.image_index import ImageIndex, load_or_index, renamed
from lpstudy.data.image_limits import LARGEST_READ_WHOLE
from lpstudy.disk import storage_errors_at, sync

FOLDER = "images"


@dataclass(slots=True)
class Pack:
    """A file that images are copied to, one after the other."""

    file: BinaryIO
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    length: int = 0

    def add(self, content: bytes, name: str) -> tuple[int, int]:
        """Copy an image; its offset and size.

        Raises:
            ValueError: It is too large.
        """
        if len(content) > LARGEST_READ_WHOLE:
            raise ValueError(f"{name} has {len(content):,} bytes, more than {LARGEST_READ_WHOLE:,}")
        with storage_errors_at(Path(self.file.name)):
            self.file.write(content)
        self.digest.update(len(content).to_bytes(8) + content)
        region = self.length, len(content)
        self.length += len(content)
        return region


def load_or_pack(source: object, copy: Callable[[Pack], ImageIndex]) -> ImageIndex:
    """The index of a pack in the cache; where there is none, copy the images first.

    The pack is named by the hash of its images, which so becomes part of the data set's fingerprint.

    Args:
        source: What the images are copied from, as JSON; when it changes, they are copied again.
        copy: Adds all images to a pack and gives their index; the files in it have no meaning.

    Raises:
        ValueError, StorageError: The cache cannot be written, or an error of `copy`.
    """
    folder = cache_folder() / FOLDER
    root = os.fsencode(folder)
    return load_or_index(["packed", source], root, lambda: _pack(folder, copy))


def _pack(folder: Path, copy: Callable[[Pack], ImageIndex]) -> ImageIndex:
    with storage_errors_at(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".writing-*"):  # of a killed process: this one holds the lock
            leftover.unlink()
        with tempfile.NamedTemporaryFile(prefix=".writing-", dir=folder, delete=False) as file:
            temporary = Path(file.name)
            try:
                pack = Pack(file)  # type: ignore[arg-type]  # NamedTemporaryFile wraps a BinaryIO
                index = copy(pack)
                file.flush()
                os.fsync(file.fileno())
                name = pack.digest.hexdigest()[:32]
                temporary.chmod(0o644)
                temporary.rename(folder / name)
                sync(folder)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    return renamed(index, os.fsencode(folder), name)
