"""Tensors of a file that `torch.save` wrote, read without running what it may contain.

torch's restricted unpickler builds tensors, numbers, texts and containers, and refuses every other object.
"""

import io
import json
import re
import shlex
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath

import torch
from torch import Tensor

from lpstudy.one_line import one_line
from lpstudy.terminal import printable

MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of a zip archive, as torch writes it since 1.6, and of plain pickles, as it did before."""
KEYS = ("state_dict", "model_state_dict", "model", "net", "network")
"""Keys of a checkpoint under which programs store a network's tensors."""
DEEPEST = 4
"""Most such keys within each other."""
LARGEST_PICKLE = 1 << 23
"""Most bytes of an archive's pickle, which are read in seconds: names and shapes of 50,000 tensors."""
MOST_READS = 1 << 22
"""Most reads from a file of the old format, whose pickle has no stated length; each takes microseconds."""
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|safe_globals\(\[([\w.]+)\]\)")
"""Where torch's error names the object that it does not build."""


def read_torch(content: bytes, place: str) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of a state dict, and the key under which a checkpoint stores it.

    Args:
        content: The file.
        place: Its path or URL, for messages.

    Returns:
        The tensors by name, on the CPU, and the key, such as `model`; empty where the file is a state dict.

    Raises:
        ValueError: It is damaged, costly, holds other objects than such data, or no tensors.
    """
    if content.startswith(b"PK"):
        _check_archive(content, place)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, to its own callers
            loaded = torch.load(_Reads(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of the unpickler, of the archive's reader, of what builds the tensors
        if match := _GLOBAL.search(str(error)):
            raise ValueError(conversion_message(place, match[1] or match[2])) from None
        reason = one_line(str(error).rpartition("WeightsUnpickler error: ")[2], 200)
        raise ValueError(f"{place} is damaged, or not a file that torch.save wrote: {reason}") from None
    state, keys = _state_of(loaded)
    tensors = {
        name: value.detach()
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        names = ", ".join(printable(str(name)[:40]) for name in list(state)[:8]) or "nothing"
        raise ValueError(
            f"{place} has no tensors by name, neither in itself nor in {', '.join(KEYS)}; it has {names}"
        )
    for name, value in tensors.items():
        if not _is_plain(value):
            raise ValueError(f"{place}: {printable(name[:80])} is no plain tensor with all its values")
    return tensors, ".".join(keys)


def conversion_message(path: str, name: str) -> str:
    """The message for a file with another object than data, with a command that converts it.

    Args:
        path: The file.
        name: The class or function that it needs.
    """
    target = str(PurePosixPath(path).with_suffix(".safetensors"))
    target = target if target != path else f"{path}.safetensors"
    code = (
        "import torch, safetensors.torch as s;"
        f' w = torch.load({json.dumps(path)}, map_location="cpu", weights_only=False);'
        ' w = w.state_dict() if hasattr(w, "state_dict") else w;'
        ' w = w.get("state_dict", w.get("model", w));'
        ' w = w.state_dict() if hasattr(w, "state_dict") else w;'
        ' w = {k: v.clone().contiguous() for k, v in w.items() if hasattr(v, "shape")};'
        f" s.save_file(w, {json.dumps(target)})"
    )
    return (
        f"{path} holds {printable(name[:80])} beside tensors, and reading it may run code; if you trust it,"
        f" convert it once: python -c {shlex.quote(code)}"
    )


class _Reads(io.BytesIO):
    """A file in memory that is read a limited number of times."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._count()
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        self._count()
        return super().readline(size)

    def _count(self) -> None:
        self._reads += 1
        if self._reads > MOST_READS:
            raise ValueError(f"it takes more than {MOST_READS:,} reads")


def _check_archive(content: bytes, place: str) -> None:
    """Refuse an archive whose reading takes more memory than its file, or minutes, or another reader."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        raise ValueError(f"{place} is a damaged archive: {one_line(error, 200)}") from None
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise ValueError(f"{place} is TorchScript, which is code; save the network's state_dict() instead")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{place} is compressed, as torch.save does not write it")
    if sum(entry.file_size for entry in entries) > len(content):
        raise ValueError(f"{place} says that it holds more bytes than it has")
    if any(entry.filename.endswith(".pkl") and entry.file_size > LARGEST_PICKLE for entry in entries):
        raise ValueError(f"{place} describes its tensors in more than {LARGEST_PICKLE:,} bytes")


def _state_of(loaded: object) -> tuple[Mapping[object, object], list[str]]:
    """The innermost mapping under known keys, and these keys."""
    state: Mapping[object, object] = loaded if isinstance(loaded, Mapping) else {}
    keys: list[str] = []
    while len(keys) < DEEPEST:
        found = [(key, state[key]) for key in KEYS if isinstance(state.get(key), Mapping)]
        if not found:
            break
        key, inner = found[0]
        assert isinstance(inner, Mapping)
        state = inner
        keys.append(key)
    return state, keys


def _is_plain(value: Tensor) -> bool:
    """Whether it is dense, on the CPU, and no repetition of fewer values: that one may have any size."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_nested:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()
