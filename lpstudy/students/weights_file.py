"""Weights files in safetensors at a path, in a folder or at a URL; formats that may run code are refused."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from lpstudy.folder import Folder, LocalFolder
from lpstudy.locations import parse_folder
from lpstudy.one_line import one_line

NAMES = ("weights.safetensors", "model.safetensors")
"""File names in a folder: lpstudy's, then that of the Hugging Face hub and of timm."""
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".th", ".tar")
"""Suffixes of files that torch writes with pickle."""
_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of a zip archive, as torch writes it, and of a plain pickle."""
_HEADER = 8
"""Bytes that hold the length of a safetensors header, little-endian."""
_LARGEST_HEADER = 100_000_000
"""Most bytes of a header; safetensors itself reads no longer one."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The content of a safetensors file."""

    place: str
    """Its path or URL, for messages."""
    content: bytes
    sha256: str
    tensors: Mapping[str, Tensor]


def read_weights(place: str | Path) -> WeightsFile:
    """Read a safetensors file.

    Args:
        place: The path of a file, a folder with `weights.safetensors` or `model.safetensors`, or a file's
            fsspec URL. A relative path starts at the working directory.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no safetensors file.
    """
    return read_weights_file(*locate_weights(place))


def read_weights_file(folder: Folder, name: str, *, sha256: str | None = None) -> WeightsFile:
    """Read a safetensors file of a folder.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no safetensors file, or not the one that `sha256` names.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    display_path = _display_path(folder, name)
    content = folder.read(name)
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ValueError(f"{display_path}: its sha-256 differs from the one recorded")
    try:
        tensors = load(content)
    except SafetensorError as error:
        if content.startswith(_MAGIC):
            raise ValueError(conversion_message(display_path)) from None
        raise ValueError(f"{display_path} is not a safetensors file: {one_line(error)}") from None
    return WeightsFile(display_path, content, digest, tensors)


def read_metadata(place: str | Path) -> dict[str, str]:
    """Read the metadata in the header of a safetensors file; only the header of a file on disk is read.

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
    if start.startswith(_MAGIC):
        raise ValueError(conversion_message(display_path))
    try:
        metadata = json.loads(header).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError):
        raise ValueError(f"{display_path} is not a safetensors file: its header cannot be read") from None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError(f"{display_path} is not a safetensors file: its metadata are not texts")
    return metadata


def locate_weights(place: str | Path) -> tuple[Folder, str]:
    """The folder and the name of the weights file at a path, in a folder or at a URL.

    Raises:
        FileNotFoundError: There is no such file on this machine.
        ValueError: Its format may run code (the message says how to convert it), or the URL is unknown.
    """
    text = str(place)
    if not isinstance(folder := parse_folder(text), LocalFolder):
        parent, _, name = text.rpartition("/")
        _refuse_pickles(text)
        return parse_folder(parent), name
    path = folder.path
    if path.is_dir():
        for name in NAMES:
            if (path / name).is_file():
                return LocalFolder(path), name
        for other in sorted(path.iterdir()):
            _refuse_pickles(str(other))
        raise FileNotFoundError(f"no weights at {path}: the folder has no {' and no '.join(NAMES)}")
    if not path.is_file():
        where = "" if path.is_absolute() else f" in the working directory {Path.cwd()}"
        raise FileNotFoundError(f"no weights at {path}: no such file{where}")
    _refuse_pickles(str(path))
    return LocalFolder(path.parent), path.name


def conversion_message(path: str) -> str:
    """The message for a file that torch wrote with pickle, with a command that converts it."""
    target = str(PurePosixPath(path).with_suffix(".safetensors"))
    target = target if target != path else f"{path}.safetensors"
    code = (
        "import torch, safetensors.torch as s;"
        f' w = torch.load({json.dumps(path)}, map_location="cpu", weights_only=True);'
        ' w = w.get("state_dict", w.get("model", w));'
        ' w = {k: v.clone().contiguous() for k, v in w.items() if hasattr(v, "shape")};'
        f" s.save_file(w, {json.dumps(target)})"
    )
    return (
        f"{path} is not a safetensors file, and reading it may run code; convert it once:"
        f" python -c {shlex.quote(code)}"
    )


def _display_path(folder: Folder, name: str) -> str:
    return str(folder.path / name) if isinstance(folder, LocalFolder) else f"{folder}/{name}"


def _refuse_pickles(path: str) -> None:
    if path.lower().endswith(PICKLES):
        raise ValueError(conversion_message(path))
