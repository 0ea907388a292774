"""The bank's files: one array per output, mapped into memory, and lists of its valid blocks.

A block is one view of some thousand samples. It is written, synced to disk and only then listed with its
SHA-256, so that a block that a kill left half-written is never read.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lpstudy.cache import cache_folder, shared_cache
from lpstudy.data import Data
from lpstudy.disk import storage_errors_at, write_atomically
from lpstudy.teacher.bank_plan import BYTES, BankedOutput, BankPlan
from lpstudy.teacher.fit import TrainedTeacher

FORMAT = 1
"""Version of the bank; an increase makes all earlier banks unused."""
BLOCK = 4096
"""Samples of a block, which takes seconds to minutes to compute."""
MANIFEST = "bank.json"
CHUNK = 16 * 2**20
"""Bytes that are read at once."""
OutputArrays = Mapping[str, npt.NDArray[np.floating]]
"""Some samples' outputs by name, each of shape (samples, ...)."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples of one view."""

    view: int
    first: int
    last: int
    """The end, exclusive."""


def write_pieces(pieces: Iterable[OutputArrays], files: Mapping[str, BinaryIO]) -> dict[str, str]:
    """Write every output's pieces one after the other to its file; return the SHA-256 of each by name."""
    hashes = {name: hashlib.sha256() for name in files}
    for piece in pieces:
        for name, file in files.items():
            content = np.ascontiguousarray(piece[name]).reshape(-1).view(np.uint8).data
            file.write(content)
            hashes[name].update(content)
    return {name: digest.hexdigest() for name, digest in hashes.items()}


class Store:
    """A bank's folder in the cache; another teacher, other data, another number format have another folder.

    Args:
        plan: The bank's content; outputs and views of earlier studies stay where they are.
        teacher: The teacher of the outputs.
        data: The data set of the images.
        bf16: Whether the teacher computes in bfloat16.
        code: SHA-256 of the imported code of the teacher's network; empty without any.
    """

    def __init__(
        self, plan: BankPlan, teacher: TrainedTeacher, data: Data, *, bf16: bool, code: str = ""
    ) -> None:
        identity: list[object] = [FORMAT, teacher.sha256, data.fingerprint, plan.dtype, bf16]
        identity += [] if teacher.input is None else [asdict(teacher.input)]
        identity += [code] if code else []
        name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
        self.plan = plan
        self.folder = cache_folder() / "banks" / name
        """The folder on this machine's disk."""
        self.shared = shared_cache() / f"banks/{name}"
        """The same folder, or that of an object store."""

    def blocks(self) -> list[Block]:
        """All blocks of the plan, view by view."""
        samples = self.plan.samples
        return [
            Block(view, first, min(first + BLOCK, samples))
            for view in range(self.plan.views)
            for first in range(0, samples, BLOCK)
        ]

    def prepare(self) -> None:
        """Create missing files with their full length but without content.

        Raises:
            OSError: The folder cannot be written, or its disk is too small.
        """
        with storage_errors_at(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        for output in self.plan.banked_outputs:
            path = self._path(output.name)
            length = self.plan.views * self._view_bytes(output)
            with storage_errors_at(path, length), path.open("ab") as file:
                if file.seek(0, os.SEEK_END) < length:
                    file.truncate(length)

    def write(self, block: Block, pieces: Iterable[OutputArrays]) -> dict[str, str]:
        """Write a block's outputs to disk; return their SHA-256 by name.

        A valid output stays unchanged: the runs of another study may be reading it.

        Args:
            block: Which samples of which view.
            pieces: Their outputs by name, each of shape (rows, ...), piece by piece: no more than one is
                in memory.
        """
        stale = [output for output in self.plan.banked_outputs if self._state(output, block) != "valid"]
        with ExitStack() as stack:
            targets = {output.name: stack.enter_context(self._block_file(output, block)) for output in stale}
            digests = write_pieces(pieces, targets)
        return digests

    @contextmanager
    def _block_file(self, output: BankedOutput, block: Block) -> Iterator[BinaryIO]:
        """Open an output's file at the position of a block; sync it to disk at the end."""
        path, size = self._path(output.name), self._block_bytes(output, block)
        with storage_errors_at(path, size), path.open("r+b") as file:
            file.seek(self._begin(output, block))
            yield file
            file.flush()
            os.fsync(file.fileno())

    def enter(self, block: Block, digests: Mapping[str, str]) -> None:
        """List a block as valid; only the process that holds the bank's lock may do so."""
        entries = self._entries(block.view) or {}
        for name, digest in digests.items():
            entries[f"{name} {block.first}"] = digest
        write_atomically(self._view_path(block.view), json.dumps(entries, indent=1, sort_keys=True).encode())

    def describe(self, facts: Mapping[str, object]) -> None:
        """Write a description of the files for people: shapes, number format, teacher, data."""
        shapes = {output.name: [self.plan.samples, *output.shape] for output in self.plan.banked_outputs}
        try:
            earlier = dict(json.loads(self.shared.read(MANIFEST))["shapes"])
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
        ):  # new or damaged; nothing depends on it
            earlier = {}
        body = {**facts, "dtype": self.plan.dtype, "block": BLOCK, "shapes": {**earlier, **shapes}}
        self.shared.write(MANIFEST, json.dumps(body, indent=1, sort_keys=True).encode())

    def missing(self) -> tuple[list[Block], list[str]]:
        """Blocks that do not exist or differ from their SHA-256, and one line for each damage."""
        blocks, damages = [], []
        for block in self.blocks():
            if block.first == 0 and self._entries(block.view) is None:
                damages.append(f"{self._view_path(block.view)}: is not readable; the view is computed again")
            states = {output: self._state(output, block) for output in self.plan.banked_outputs}
            if set(states.values()) != {"valid"}:
                blocks.append(block)
            damages += [
                f"{self._path(output.name)}: view {block.view}, samples {block.first} to {block.last - 1}:"
                " the SHA-256 differs; computed again"
                for output, state in states.items()
                if state == "damaged"
            ]
        return blocks, damages

    def _state(self, output: BankedOutput, block: Block) -> Literal["valid", "damaged", "absent"]:
        """Whether an output of a block on disk equals its listed SHA-256."""
        digest = (self._entries(block.view) or {}).get(f"{output.name} {block.first}")
        if digest is None:
            return "absent"
        return "valid" if self._digest(output, block) == digest else "damaged"

    def open_outputs(self) -> dict[str, Tensor]:
        """Every banked output, of shape (views, samples, ...), mapped into memory.

        Raises:
            ValueError: A file is too short, or a block was never computed.
        """
        for view in range(self.plan.views):
            entries = self._entries(view) or {}
            for output in self.plan.banked_outputs:
                if any(
                    f"{output.name} {first}" not in entries for first in range(0, self.plan.samples, BLOCK)
                ):
                    raise ValueError(f"{self._path(output.name)}: view {view} is incomplete")
        return {output.name: self._map_file(output) for output in self.plan.banked_outputs}

    def _map_file(self, output: BankedOutput) -> Tensor:
        path = self._path(output.name)
        shape = (self.plan.views, self.plan.samples, *output.shape)
        if path.stat().st_size < math.prod(shape) * BYTES[self.plan.dtype]:
            raise ValueError(f"{path}: is shorter than its {self.plan.views} views")
        # Mode "c", copy on write, for torch requires a writable array; nothing writes to it.
        return torch.from_numpy(np.memmap(path, dtype=_numpy_dtype(self.plan.dtype), mode="c", shape=shape))

    def _entries(self, view: int) -> dict[str, str] | None:
        """SHA-256 by output and first sample; None where the file is damaged."""
        try:
            entries = json.loads(self._view_path(view).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            return None
        return entries if isinstance(entries, dict) else None

    def _digest(self, output: BankedOutput, block: Block) -> str:
        """SHA-256 of an output of a block on disk."""
        digest, remaining = hashlib.sha256(), self._block_bytes(output, block)
        try:
            with self._path(output.name).open("rb") as file:
                file.seek(self._begin(output, block))
                while remaining > 0 and (content := file.read(min(remaining, CHUNK))):
                    digest.update(content)
                    remaining -= len(content)
        except OSError:
            return ""
        return digest.hexdigest()

    def _block_bytes(self, output: BankedOutput, block: Block) -> int:
        return (block.last - block.first) * self._view_bytes(output) // self.plan.samples

    def _begin(self, output: BankedOutput, block: Block) -> int:
        view_bytes = self._view_bytes(output)
        return block.view * view_bytes + block.first * (view_bytes // self.plan.samples)

    def _view_bytes(self, output: BankedOutput) -> int:
        return self.plan.samples * math.prod(output.shape) * BYTES[self.plan.dtype]

    def _path(self, name: str) -> Path:
        """The file of an output; special characters of its name are written in six hex digits."""
        safe = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else f"%{ord(c):06x}" for c in name)
        return self.folder / f"{safe}.{self.plan.dtype}"

    def _view_path(self, view: int) -> Path:
        return self.folder / "views" / f"{view:05d}.json"


def bank_origin(plan: BankPlan, teacher: TrainedTeacher, data: Data) -> dict[str, object]:
    """The origin of a bank for its manifest."""
    return {
        "teacher": {key: value for key, value in asdict(teacher).items() if key != "folder"},
        "data": {"name": data.name, "fingerprint": data.fingerprint, "pad": data.pad, "flip": data.flip},
        "augmentations": plan.augmentations,
    }


def to_bank_dtype(outputs: Tensor, dtype: str) -> npt.NDArray[np.floating]:
    """Convert outputs to the bank's number format.

    Raises:
        ValueError: An output is not finite, or too large for the format.
    """
    exact = outputs.float().cpu().numpy()
    if not np.isfinite(exact).all():
        raise ValueError("the teacher's outputs are not finite: another teacher is needed")
    with np.errstate(over="ignore"):
        values: npt.NDArray[np.floating] = exact.astype(_numpy_dtype(dtype))
    if not np.isfinite(values).all():
        largest = float(np.abs(exact).max())
        raise ValueError(
            f'the teacher\'s outputs reach {largest:.3g}, beyond {dtype}: set [teacher] bank_dtype = "fp32"'
        )
    return values


def _numpy_dtype(dtype: str) -> type[np.floating]:
    return np.float16 if dtype == "fp16" else np.float32


def deal_blocks(blocks: list[Block], workers: int) -> Iterator[list[Block]]:
    """Divide the blocks among workers as evenly as possible."""
    for worker in range(min(workers, len(blocks))):
        yield blocks[worker::workers]
