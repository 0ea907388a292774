"""Folders of a study's files: on a mounted disk, or at an fsspec URL."""

import errno
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lpstudy.disk import UnreachableError, storage_errors_at, write_atomically
from lpstudy.environment import check_characters
from lpstudy.one_line import one_line
from lpstudy.redaction import without_credentials

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::)")


class Folder(ABC):
    """A folder with files and subfolders; a name never leads out of it."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The address by which `folder_at` opens it in any process."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Folder":
        """The subfolder of a name, or of names separated by slashes; it need not exist."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: There is no such file.
            StorageError: The disk or the store cannot be read.
        """

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Create or replace a file; create the folder where there is none.

        Raises:
            StorageError: There is no room, or the file cannot be written; an earlier file stays unchanged.
        """

    @abstractmethod
    def names(self) -> list[str]:
        """Sorted names of the files in it; none where it does not exist."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file if it exists."""

    @abstractmethod
    def clear(self) -> None:
        """Remove it with its content; what another process has open may stay."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether it exists and is not empty."""

    @abstractmethod
    def sibling(self, name: str) -> "Folder":
        """The folder of a name in the same parent."""

    @abstractmethod
    def rename(self, name: str) -> None:
        """Rename it within its parent."""

    @abstractmethod
    def resolve(self) -> "Folder":
        """The same folder by an address that does not depend on the working directory."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Free bytes; None where the number is unknown."""

    def __str__(self) -> str:
        return without_credentials(self.url)


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder on a disk of this machine, or mounted on it."""

    path: Path

    @property
    def url(self) -> str:
        """The path."""
        return str(self.path)

    def __truediv__(self, name: str) -> "LocalFolder":
        return LocalFolder(self.path / name)

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        with storage_errors_at(self.path / name):
            return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically: see `write_atomically`."""
        write_atomically(self.path / name, content)

    def names(self) -> list[str]:
        """See `Folder`."""
        try:
            with storage_errors_at(self.path):
                return sorted(path.name for path in self.path.iterdir() if not path.is_dir())
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """See `Folder`."""
        with storage_errors_at(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """See `Folder`."""
        shutil.rmtree(self.path, ignore_errors=True)

    def exists(self) -> bool:
        """See `Folder`."""
        with storage_errors_at(self.path):
            return self.path.is_dir() and any(self.path.iterdir())

    def sibling(self, name: str) -> "LocalFolder":
        """See `Folder`."""
        return LocalFolder(self.path.with_name(name))

    def rename(self, name: str) -> None:
        """Rename it in one step."""
        with storage_errors_at(self.path):
            self.path.rename(self.path.with_name(name))

    def resolve(self) -> "LocalFolder":
        """The same folder by its absolute path."""
        return LocalFolder(self.path.resolve())

    def free_bytes(self) -> int | None:
        """Free bytes of its disk."""
        return shutil.disk_usage(self.path).free


@dataclass(frozen=True)
class RemoteFolder(Folder):
    """A folder in an object store, or in any other file system that fsspec knows.

    An object store replaces an object in one step; elsewhere, on an FTP server say, a reader may see half a
    file: readers check the SHA-256, or read again.
    """

    address: str

    @property
    def url(self) -> str:
        """The address, as the user wrote it."""
        return self.address

    def file_system(self) -> tuple[Any, str]:
        """Fsspec's file system, one for each thread, and the path in it.

        It caches no lists of files: a file that another process writes later would be missed.
        """
        from fsspec.core import url_to_fs

        system, path = url_to_fs(self.address, use_listings_cache=False)
        return system, path.rstrip("/")

    def __truediv__(self, name: str) -> "RemoteFolder":
        return RemoteFolder(f"{self.address}/{name}")

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        with self._connect(name) as (system, path):
            content: bytes = system.cat_file(path)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one request; create folders where the store has them."""
        with self._connect(name) as (system, path):
            try:
                system.pipe_file(path, content)
            except FileNotFoundError:
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
                system.pipe_file(path, content)

    def names(self) -> list[str]:
        """See `Folder`."""
        with self._connect() as (system, path):
            try:
                entries = system.ls(path, detail=True)
            except FileNotFoundError:
                return []
        return sorted(entry["name"].rpartition("/")[2] for entry in entries if entry["type"] == "file")

    def remove(self, name: str) -> None:
        """See `Folder`."""
        with self._connect(name) as (system, path):
            try:
                system.rm_file(path)
            except FileNotFoundError:  # not every store raises it
                return

    def clear(self) -> None:
        """See `Folder`."""
        with self._connect() as (system, path):
            try:
                system.rm(path, recursive=True)
            except FileNotFoundError:
                return

    def exists(self) -> bool:
        """See `Folder`."""
        with self._connect() as (system, path):
            return bool(system.find(path))

    def sibling(self, name: str) -> "RemoteFolder":
        """See `Folder`."""
        return RemoteFolder(f"{self.address.rpartition('/')[0]}/{name}")

    def rename(self, name: str) -> None:
        """Rename file by file: copy it, then remove it."""
        with self._connect() as (system, path):
            new_path = f"{path.rpartition('/')[0]}/{name}"
            for source in system.find(path):
                target = new_path + source.removeprefix(path)
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.mv(source, target)
        self.clear()

    def resolve(self) -> "RemoteFolder":
        """This folder: a URL does not depend on the working directory."""
        return self

    def free_bytes(self) -> int | None:
        """None: a store does not tell its free space."""
        return None

    @contextmanager
    def _connect(self, name: str = "") -> Iterator[tuple[Any, str]]:
        """The file system and a path; an error of the store's client becomes an UnreachableError."""
        try:
            system, path = self.file_system()
            yield system, f"{path}/{name}" if name else path
        except (FileNotFoundError, UnreachableError):
            raise
        except Exception as error:  # each store's client has errors of its own
            where = without_credentials(f"{self.address}/{name}" if name else self.address)
            message = one_line(error, 300)
            code = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
            raise UnreachableError(code, f"{where}: {without_credentials(message)}") from error


def folder_at(place: str | Path) -> Folder:
    """The folder at a path or URL; `file://` is a path.

    Raises:
        ValueError: The kind of URL is unknown, its package is not installed, it is a chain, or it has
            letters that mean something else in URLs of its kind.
    """
    text = str(place)
    if isinstance(place, Path) or not URL.match(text):
        return LocalFolder(Path(text))
    if text.lower().startswith("file://"):
        return LocalFolder(_path_of_url(text))
    folder = RemoteFolder(text.rstrip("/"))
    if "::" in text:
        raise ValueError(
            f"{folder}: a chain of file systems is not supported: a cache in it would show old files"
        )
    if unsafe := sorted({*text} & {*"*?[]#"}):
        raise ValueError(f"{folder}: {' '.join(unsafe)} in a store's URL may mean other folders too")
    try:
        folder.file_system()
    except (ImportError, ValueError) as error:
        raise ValueError(f"{folder}: {one_line(error)}") from None
    except Exception as error:  # a client may ask its server here, and has errors of its own
        raise ValueError(f"{folder}: cannot be reached: {one_line(error, 300)}") from None
    return folder


def _path_of_url(url: str) -> Path:
    """The path of a `file://` URL."""
    split = urlsplit(url)
    if split.netloc not in ("", "localhost"):
        raise ValueError(f"{url}: a file:// URL must name a path of this machine, file:///folder")
    if {"?", "#"} & {*url}:
        raise ValueError(
            f"{url}: in a file:// URL write ? as %3F and # as %23; a plain path needs no such codes"
        )
    return Path(check_characters(unquote(split.path)))
