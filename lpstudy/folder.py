"""Where a study keeps its files: a folder of a disk that is mounted, or one reached by an fsspec URL."""

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
from lpstudy.redaction import without_credentials

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::)")


class Folder(ABC):
    """Files by their names, and folders within it; a name never leads out of it."""

    @property
    @abstractmethod
    def url(self) -> str:
        """What `folder_at` finds it by, in another process too."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Folder":
        """The folder of that name, or of those names with slashes between them; it need not exist."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: There is none.
            StorageError: The disk or the store does not give it.
        """

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file; the folder is made where it is new.

        Raises:
            StorageError: There is no room, or it cannot be written; the old file is as it was.
        """

    @abstractmethod
    def names(self) -> list[str]:
        """The files in it, in order; none where it does not exist."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file where there is one."""

    @abstractmethod
    def clear(self) -> None:
        """Remove it with all that is in it; what another process holds may stay."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything in it."""

    @abstractmethod
    def sibling(self, name: str) -> "Folder":
        """The folder of that name where this one is."""

    @abstractmethod
    def rename(self, name: str) -> None:
        """Put all that is in it into the folder of that name beside it."""

    @abstractmethod
    def resolve(self) -> "Folder":
        """The same, wherever a process works."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Bytes that are free; None where that is not known."""

    def __str__(self) -> str:
        return without_credentials(self.url)


@dataclass(frozen=True)
class LocalFolder(Folder):
    """On a disk of this machine, or mounted on it."""

    path: Path

    @property
    def url(self) -> str:
        """A plain path."""
        return str(self.path)

    def __truediv__(self, name: str) -> "LocalFolder":
        return LocalFolder(self.path / name)

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        with storage_errors_at(self.path / name):
            return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Atomically: see `write_atomically`."""
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
        """In one step."""
        with storage_errors_at(self.path):
            self.path.rename(self.path.with_name(name))

    def resolve(self) -> "LocalFolder":
        """Absolute."""
        return LocalFolder(self.path.resolve())

    def free_bytes(self) -> int | None:
        """Of its disk."""
        return shutil.disk_usage(self.path).free


@dataclass(frozen=True)
class RemoteFolder(Folder):
    """In an object store, or whatever else fsspec knows.

    An object store replaces an object in one step; elsewhere, on an FTP server say, a reader may see half a
    file: what is read is checked by its SHA-256, or read again.
    """

    address: str

    @property
    def url(self) -> str:
        """As it was given."""
        return self.address

    def file_system(self) -> tuple[Any, str]:
        """Fsspec's file system, which it keeps for each thread, and the path there.

        It remembers no lists of files: one that another process has written since would not be found.
        """
        from fsspec.core import url_to_fs

        system, path = url_to_fs(self.address, use_listings_cache=False)
        return system, path.rstrip("/")

    def __truediv__(self, name: str) -> "RemoteFolder":
        return RemoteFolder(f"{self.address}/{name}")

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        with self._reached(name) as (system, path):
            content: bytes = system.cat_file(path)
        return content

    def write(self, name: str, content: bytes) -> None:
        """One request; a store that has folders is asked to make them."""
        with self._reached(name) as (system, path):
            try:
                system.pipe_file(path, content)
            except FileNotFoundError:
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
                system.pipe_file(path, content)

    def names(self) -> list[str]:
        """See `Folder`."""
        with self._reached() as (system, path):
            try:
                found = system.ls(path, detail=True)
            except FileNotFoundError:
                return []
        return sorted(entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file")

    def remove(self, name: str) -> None:
        """See `Folder`."""
        with self._reached(name) as (system, path):
            try:
                system.rm_file(path)
            except FileNotFoundError:  # many a store does not say so
                return

    def clear(self) -> None:
        """See `Folder`."""
        with self._reached() as (system, path):
            try:
                system.rm(path, recursive=True)
            except FileNotFoundError:
                return

    def exists(self) -> bool:
        """See `Folder`."""
        with self._reached() as (system, path):
            return bool(system.find(path))

    def sibling(self, name: str) -> "RemoteFolder":
        """See `Folder`."""
        return RemoteFolder(f"{self.address.rpartition('/')[0]}/{name}")

    def rename(self, name: str) -> None:
        """File by file: a copy, then its removal."""
        with self._reached() as (system, path):
            beside = f"{path.rpartition('/')[0]}/{name}"
            for source in system.find(path):
                target = beside + source.removeprefix(path)
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.mv(source, target)
        self.clear()

    def resolve(self) -> "RemoteFolder":
        """Itself."""
        return self

    def free_bytes(self) -> int | None:
        """A store tells nothing of it."""
        return None

    @contextmanager
    def _reached(self, name: str = "") -> Iterator[tuple[Any, str]]:
        """Within it whatever a store's client throws, after it has tried again, is an UnreachableError."""
        try:
            system, path = self.file_system()
            yield system, f"{path}/{name}" if name else path
        except (FileNotFoundError, UnreachableError):
            raise
        except Exception as error:  # each store's client has errors of its own; all are told as one kind
            where = without_credentials(f"{self.address}/{name}" if name else self.address)
            said = " ".join(str(error).split())[:300] or type(error).__name__
            barred = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
            raise UnreachableError(barred, f"{where}: {without_credentials(said)}") from error


def folder_at(place: str | Path) -> Folder:
    """The folder at a path or URL; `file://` is a path.

    Raises:
        ValueError: No such kind of URL is known, its package is not installed, it is a chain, or it has
            letters that URLs of its kind read otherwise.
    """
    text = str(place)
    if isinstance(place, Path) or not URL.match(text):
        return LocalFolder(Path(text))
    if text.lower().startswith("file://"):
        return LocalFolder(_path_of(text))
    made = RemoteFolder(text.rstrip("/"))
    if "::" in text:
        raise ValueError(f"{made}: a chain of file systems is not taken: a cache in it would show old files")
    if unsafe := sorted({*text} & {*"*?[]#"}):
        raise ValueError(f"{made}: {' '.join(unsafe)} in a store's URL may mean other folders too")
    try:
        made.file_system()
    except (ImportError, ValueError) as error:
        raise ValueError(f"{made}: {' '.join(str(error).split())}") from None
    except Exception as error:  # a client may ask its server here, and has errors of its own
        raise ValueError(f"{made}: cannot be reached: {' '.join(str(error).split())[:300]}") from None
    return made


def _path_of(url: str) -> Path:
    """Of a `file://` URL."""
    split = urlsplit(url)
    if split.netloc not in ("", "localhost"):
        raise ValueError(f"{url}: a file:// URL must name a path of this machine, file:///folder")
    if {"?", "#"} & {*url}:
        raise ValueError(
            f"{url}: in a file:// URL a ? is written %3F and a # %23; a plain path has them as they are"
        )
    return Path(check_characters(unquote(split.path)))
