"""A bank in an object store; each machine that trains has a copy on its disk.

An output of a block is one object. Its name ends in the SHA-256 of its content: if the object exists, so does
the block, without a list that two writers could damage.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from tempfile import TemporaryFile

from torch import Tensor

from lpstudy.disk import storage_errors_at
from lpstudy.teacher.bank_plan import BankedOutput
from lpstudy.teacher.store import Block, OutputArrays, Store, write_pieces

_NAME = re.compile(r"(\d{5})-(\d{9})-([0-9a-f]{64})")


class RemoteStore(Store):
    """See `Store`; `shared` is the object store, `folder` this machine's copy."""

    def prepare(self) -> None:
        """Do nothing: objects are written whole."""

    def missing(self) -> tuple[list[Block], list[str]]:
        """Blocks that do not exist; the SHA-256 of the others is checked when they are fetched."""
        objects_by_output = [self._objects(output) for output in self.plan.banked_outputs]
        return [
            b for b in self.blocks() if any((b.view, b.first) not in objects for objects in objects_by_output)
        ], []

    def write(self, block: Block, pieces: Iterable[OutputArrays]) -> dict[str, str]:
        """Write a block's missing outputs to the store; return their SHA-256 by name."""
        absent = [
            output
            for output in self.plan.banked_outputs
            if (block.view, block.first) not in self._objects(output)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        size = sum(self._block_bytes(output, block) for output in absent)
        with ExitStack() as stack, storage_errors_at(self.folder / "block", size):
            files = {k.name: stack.enter_context(TemporaryFile(dir=self.folder)) for k in absent}
            digests = write_pieces(pieces, files)
            for name, file in files.items():
                file.seek(0)
                content = file.read()
                target = f"{block.view:05d}-{block.first:09d}-{digests[name]}"
                (self.shared / self._path(name).name).write(target, content)
        return digests

    def enter(self, block: Block, digests: Mapping[str, str]) -> None:
        """Do nothing: the names of the objects list the block."""

    def open_outputs(self) -> dict[str, Tensor]:
        """Every banked output; blocks are fetched where this machine's copy lacks them or differs.

        Raises:
            ValueError: A block was never computed, or differs from its SHA-256: then it is removed, to be
                computed again.
            OSError: The store does not answer, or the disk is full.
        """
        from filelock import FileLock

        if self._absent_blocks():  # before the lock: a complete copy may be read-only
            super().prepare()
            with storage_errors_at(self.folder), FileLock(self.folder / "copy.lock"):
                for output, block, digest in self._absent_blocks():
                    self._fetch(output, block, digest)
        return super().open_outputs()

    def _absent_blocks(self) -> list[tuple[BankedOutput, Block, str]]:
        """Outputs and blocks that this machine's copy lacks or has otherwise, with their SHA-256."""
        absent = []
        for output in self.plan.banked_outputs:
            objects = self._objects(output)
            for block in self.blocks():
                digest = objects.get((block.view, block.first))
                if digest is not None and not self._is_copied(output, block, digest):
                    absent.append((output, block, digest))
        return absent

    def _objects(self, output: BankedOutput) -> dict[tuple[int, int], str]:
        """SHA-256 by view and first sample; if machines have computed different blocks, of one of them."""
        names = (self.shared / self._path(output.name).name).names()
        matches = (match for match in map(_NAME.fullmatch, names) if match)
        return {(int(match[1]), int(match[2])): match[3] for match in matches}

    def _is_copied(self, output: BankedOutput, block: Block, digest: str) -> bool:
        entry = (self._entries(block.view) or {}).get(f"{output.name} {block.first}")
        return entry == digest and self._state(output, block) == "valid"

    def _fetch(self, output: BankedOutput, block: Block, digest: str) -> None:
        folder, name = (
            self.shared / self._path(output.name).name,
            f"{block.view:05d}-{block.first:09d}-{digest}",
        )
        content = folder.read(name)
        if hashlib.sha256(content).hexdigest() != digest:
            folder.remove(name)
            raise ValueError(f"{folder}/{name}: the SHA-256 differs; it is removed, to be computed again")
        with self._block_file(output, block) as file:
            file.write(content)
        super().enter(block, {output.name: digest})
