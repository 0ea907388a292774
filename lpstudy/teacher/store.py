"""The bank's files: one array an output, mapped into memory, and beside it which blocks of it are valid.

A block is one view of some thousand samples. It is written, brought to disk and only then entered, with its
SHA-256, so that what a kill left half-written is never read.
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

from lpstudy.data import Data, cache_folder, shared_cache
from lpstudy.disk import storage_errors_at, write_atomically
from lpstudy.teacher.bank_plan import BYTES, BankedOutput, BankPlan
from lpstudy.teacher.fit import TrainedTeacher

FORMAT = 1
"""Raised when views, or what is stored of them, change their meaning."""
BLOCK = 4096
"""Samples of a block: some seconds to some minutes of work."""
MANIFEST = "bank.json"
CHUNK = 16 * 2**20
"""Bytes that are read at once."""
Outputs = Mapping[str, npt.NDArray[np.floating]]
"""Some samples' outputs by name, each of shape (samples, ...)."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples of one view."""

    view: int
    first: int
    last: int
    """Past the end."""


def write_pieces(pieces: Iterable[Outputs], files: Mapping[str, BinaryIO]) -> dict[str, str]:
    """Write every output's pieces one after the other into its file; the SHA-256 of each by name."""
    found = {name: hashlib.sha256() for name in files}
    for piece in pieces:
        for name, file in files.items():
            content = np.ascontiguousarray(piece[name]).reshape(-1).view(np.uint8).data
            file.write(content)
            found[name].update(content)
    return {name: digest.hexdigest() for name, digest in found.items()}


class Store:
    """A bank's folder in the cache; another teacher, other data, another number format have another folder.

    Args:
        plan: What is kept; outputs and views that an earlier study kept stay where they are.
        teacher: Whose outputs.
        data: Of which images.
        bf16: Whether the teacher computes in bfloat16.
    """

    def __init__(self, plan: BankPlan, teacher: TrainedTeacher, data: Data, *, bf16: bool) -> None:
        told: list[object] = [FORMAT, teacher.sha256, data.fingerprint, plan.dtype, bf16]
        told += [] if teacher.input is None else [asdict(teacher.input)]
        name = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
        self.plan = plan
        self.folder = cache_folder() / "banks" / name
        """On this machine's disk."""
        self.shared = shared_cache() / f"banks/{name}"
        """The same one, or that of an object store."""

    def blocks(self) -> list[Block]:
        """All blocks of the plan, view by view."""
        samples = self.plan.samples
        return [
            Block(view, first, min(first + BLOCK, samples))
            for view in range(self.plan.views)
            for first in range(0, samples, BLOCK)
        ]

    def prepare(self) -> None:
        """Make the files, of their full length but without content where they are new.

        Raises:
            OSError: The folder cannot be written, or its disk is too small.
        """
        with storage_errors_at(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        for kept in self.plan.banked_outputs:
            path = self._path(kept.name)
            long = self.plan.views * self._view_bytes(kept)
            with storage_errors_at(path, long), path.open("ab") as file:
                if file.seek(0, os.SEEK_END) < long:
                    file.truncate(long)

    def write(self, block: Block, pieces: Iterable[Outputs]) -> dict[str, str]:
        """Put a block's outputs to disk; their SHA-256 by name.

        An output of it that is valid stays as it is: the runs of another study may be reading it.

        Args:
            block: Which samples of which view.
            pieces: Their outputs by name, each of shape (rows, ...), piece after piece: no more than one is
                held in memory.
        """
        wanted = [kept for kept in self.plan.banked_outputs if self._state(kept, block) != "valid"]
        with ExitStack() as stack:
            targets = {kept.name: stack.enter_context(self._block_file(kept, block)) for kept in wanted}
            digests = write_pieces(pieces, targets)
        return digests

    @contextmanager
    def _block_file(self, kept: BankedOutput, block: Block) -> Iterator[BinaryIO]:
        """An output's file at the place of a block, brought to disk at the end."""
        path, size = self._path(kept.name), self._block_bytes(kept, block)
        with storage_errors_at(path, size), path.open("r+b") as file:
            file.seek(self._begin(kept, block))
            yield file
            file.flush()
            os.fsync(file.fileno())

    def enter(self, block: Block, digests: Mapping[str, str]) -> None:
        """Note that a block is valid; one process at a time, the one that holds the bank's lock."""
        entries = self._entries(block.view) or {}
        for name, digest in digests.items():
            entries[f"{name} {block.first}"] = digest
        write_atomically(self._view_path(block.view), json.dumps(entries, indent=1, sort_keys=True).encode())

    def describe(self, facts: Mapping[str, object]) -> None:
        """Write what the files hold, for a reader: shapes, number format, teacher, data."""
        shapes = {kept.name: [self.plan.samples, *kept.shape] for kept in self.plan.banked_outputs}
        try:
            before = dict(json.loads(self.shared.read(MANIFEST))["shapes"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # new, or damaged; none needs it
            before = {}
        body = {**facts, "dtype": self.plan.dtype, "block": BLOCK, "shapes": {**before, **shapes}}
        self.shared.write(MANIFEST, json.dumps(body, indent=1, sort_keys=True).encode())

    def missing(self) -> tuple[list[Block], list[str]]:
        """Blocks that are not there or differ from their SHA-256, and one line for each thing damaged."""
        wanted, damaged = [], []
        for block in self.blocks():
            if block.first == 0 and self._entries(block.view) is None:
                damaged.append(f"{self._view_path(block.view)}: is not readable; the view is computed again")
            states = {kept: self._state(kept, block) for kept in self.plan.banked_outputs}
            if set(states.values()) != {"valid"}:
                wanted.append(block)
            damaged += [
                f"{self._path(kept.name)}: view {block.view}, samples {block.first} to {block.last - 1}: the"
                " SHA-256 differs; computed again"
                for kept, state in states.items()
                if state == "damaged"
            ]
        return wanted, damaged

    def _state(self, kept: BankedOutput, block: Block) -> Literal["valid", "damaged", "absent"]:
        """Whether an output of a block is on disk as it was entered."""
        digest = (self._entries(block.view) or {}).get(f"{kept.name} {block.first}")
        if digest is None:
            return "absent"
        return "valid" if self._digest(kept, block) == digest else "damaged"

    def open_outputs(self) -> dict[str, Tensor]:
        """Every output that is kept, of shape (views, samples, ...), mapped into memory.

        Raises:
            ValueError: A file is shorter than it should be, or a block was never filled.
        """
        for view in range(self.plan.views):
            entries = self._entries(view) or {}
            for kept in self.plan.banked_outputs:
                if any(f"{kept.name} {first}" not in entries for first in range(0, self.plan.samples, BLOCK)):
                    raise ValueError(f"{self._path(kept.name)}: view {view} was not filled")
        return {kept.name: self._mapped(kept) for kept in self.plan.banked_outputs}

    def _mapped(self, kept: BankedOutput) -> Tensor:
        path = self._path(kept.name)
        shape = (self.plan.views, self.plan.samples, *kept.shape)
        if path.stat().st_size < math.prod(shape) * BYTES[self.plan.dtype]:
            raise ValueError(f"{path}: is shorter than its {self.plan.views} views")
        # Mode "c", copy on write, for torch wants an array that it could write to; nobody does.
        return torch.from_numpy(np.memmap(path, dtype=_numpy(self.plan.dtype), mode="c", shape=shape))

    def _entries(self, view: int) -> dict[str, str] | None:
        """SHA-256 by output and first sample; None where the file is damaged."""
        try:
            entries = json.loads(self._view_path(view).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            return None
        return entries if isinstance(entries, dict) else None

    def _digest(self, kept: BankedOutput, block: Block) -> str:
        """SHA-256 of what is on disk of an output of a block."""
        found, left = hashlib.sha256(), self._block_bytes(kept, block)
        try:
            with self._path(kept.name).open("rb") as file:
                file.seek(self._begin(kept, block))
                while left > 0 and (content := file.read(min(left, CHUNK))):
                    found.update(content)
                    left -= len(content)
        except OSError:
            return ""
        return found.hexdigest()

    def _block_bytes(self, kept: BankedOutput, block: Block) -> int:
        return (block.last - block.first) * self._view_bytes(kept) // self.plan.samples

    def _begin(self, kept: BankedOutput, block: Block) -> int:
        of_view = self._view_bytes(kept)
        return block.view * of_view + block.first * (of_view // self.plan.samples)

    def _view_bytes(self, kept: BankedOutput) -> int:
        return self.plan.samples * math.prod(kept.shape) * BYTES[self.plan.dtype]

    def _path(self, name: str) -> Path:
        """Where an output lies; what is not a letter or a digit in its name is written in six hex digits."""
        safe = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else f"%{ord(c):06x}" for c in name)
        return self.folder / f"{safe}.{self.plan.dtype}"

    def _view_path(self, view: int) -> Path:
        return self.folder / "views" / f"{view:05d}.json"


def bank_origin(plan: BankPlan, teacher: TrainedTeacher, data: Data) -> dict[str, object]:
    """What a bank's manifest says of its origin."""
    return {
        "teacher": {key: value for key, value in asdict(teacher).items() if key != "folder"},
        "data": {"name": data.name, "fingerprint": data.fingerprint, "pad": data.pad, "flip": data.flip},
        "augmentations": plan.augmentations,
    }


def to_bank_dtype(outputs: Tensor, dtype: str) -> npt.NDArray[np.floating]:
    """The outputs in the bank's number format.

    Raises:
        ValueError: One is not finite, or beyond what the format holds.
    """
    exact = outputs.float().cpu().numpy()
    if not np.isfinite(exact).all():
        raise ValueError("the teacher's outputs are not finite: another teacher is needed")
    with np.errstate(over="ignore"):
        values: npt.NDArray[np.floating] = exact.astype(_numpy(dtype))
    if not np.isfinite(values).all():
        largest = float(np.abs(exact).max())
        raise ValueError(
            f'the teacher\'s outputs reach {largest:.3g}, beyond {dtype}: set [teacher] bank_dtype = "fp32"'
        )
    return values


def _numpy(dtype: str) -> type[np.floating]:
    return np.float16 if dtype == "fp16" else np.float32


def deal_blocks(blocks: list[Block], workers: int) -> Iterator[list[Block]]:
    """The blocks dealt out to workers, as evenly as they go."""
    for worker in range(min(workers, len(blocks))):
        yield blocks[worker::workers]
