"""Weights files of safetensors or torch at a path, in a folder or at a URL, read without running code."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lpstudy.folder import Folder, LocalFolder
from lpstudy.locations import parse_folder
from lpstudy.one_line import one_line
from lpstudy.students.torch_file import MAGIC, read_torch

NAMES = ("weights.safetensors", "model.safetensors")
"""File names in a folder: lpstudy's, then that of the Hugging Face hub and of timm."""
TORCH = ".pth"
"""Suffix of the copies of torch's files."""
SAFETENSORS = ".safetensors"
"""Suffix of files that are never read as torch's: those that lpstudy writes have it."""
_HEADER = 8
"""Bytes that hold the length of a safetensors header, little-endian."""
_LARGEST_HEADER = 100_000_000
"""Most bytes of a header; safetensors itself reads no longer one."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The content of a weights file."""

    place: str
    """Its path or URL, for messages."""
    content: bytes
    sha256: str
    tensors: Mapping[str, Tensor]
    key: str = ""
    """The key under which a checkpoint of torch has the tensors; empty: they are the file."""

    @property
    def suffix(self) -> str:
        """The suffix of a copy of the file."""
        return TORCH if _is_torch(self.place, self.content) else SAFETENSORS


def read_weights(place: str | Path) -> WeightsFile:
    """Read a weights file.

    Args:
        place: The path of a file, a folder with `weights.safetensors` or `model.safetensors`, or a file's
            fsspec URL. A relative path starts at the working directory.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no weights file, or has more than data in it.
    """
    return read_weights_file(*locate_weights(place))


def read_weights_file(folder: Folder, name: str, *, sha256: str | None = None) -> WeightsFile:
    """Read a weights file of a folder; one that ends in .safetensors is never read as torch's.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no weights file, has more than data in it, or is not the one that `sha256` names.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    display_path = _display_path(folder, name)
    content = folder.read(name)
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ValueError(f"{display_path}: its sha-256 differs from the one recorded")
    if _is_torch(name, content):
        return WeightsFile(display_path, content, digest, *read_torch(content, display_path))
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"{display_path} is not a safetensors file: {_reason(content, error)}") from None
    return WeightsFile(display_path, content, digest, tensors)


def read_metadata(place: str | Path) -> dict[str, str]:
    """Read the metadata in the header of a safetensors file, which torch's have not.

    Only the header of a file on disk is read.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no safetensors file.
    """
    folder, name = locate_weights(place)
    display_path = _display_path(folder, name)
    if isinstance(folder, LocalFolder):
        with (folder.path / name).open("rb") as file:
            start = file.read(_HEADER)
            length = int.from_bytes(start, "little")
            header = file.read(length) if length <= _LARGEST_HEADER else b""
    else:
        content = folder.read(name)
        length = int.from_bytes(content[:_HEADER], "little")
        start, header = content[:_HEADER], content[_HEADER : _HEADER + length]
    if _is_torch(name, start):
        return {}
    try:
        metadata = json.loads(header).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError):
        reason = _reason(start, "its header cannot be read")
        raise ValueError(f"{display_path} is not a safetensors file: {reason}") from None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError(f"{display_path} is not a safetensors file: its metadata are not texts")
    return metadata


def locate_weights(place: str | Path) -> tuple[Folder, str]:
    """The folder and the name of the weights file at a path, in a folder or at a URL.

    Raises:
        FileNotFoundError: There is no such file on this machine.
        ValueError: The URL is unknown.
    """
    text = str(place)
    if not isinstance(folder := parse_folder(text), LocalFolder):
        parent, _, name = text.rpartition("/")
        return parse_folder(parent), name
    path = folder.path
    if path.is_dir():
        for name in NAMES:
            if (path / name).is_file():
                return LocalFolder(path), name
        raise FileNotFoundError(
            f"no weights at {path}: the folder has no {' and no '.join(NAMES)}; name a file of torch itself"
        )
    if not path.is_file():
        where = "" if path.is_absolute() else f" in the working directory {Path.cwd()}"
        raise FileNotFoundError(f"no weights at {path}: no such file{where}")
    return LocalFolder(path.parent), path.name


def _display_path(folder: Folder, name: str) -> str:
    return str(folder.path / name) if isinstance(folder, LocalFolder) else f"{folder}/{name}"


def _is_torch(name: str, content: bytes) -> bool:
    return content.startswith(MAGIC) and not name.endswith(SAFETENSORS)


def _reason(content: bytes, error: object) -> str:
    return "torch.save wrote it; name it .pth" if content.startswith(MAGIC) else one_line(error)
