"""A bank in an object store, of which each machine that trains has a copy on its disk.

An output of a block is one object. Its name ends in the SHA-256 of its content: that an object is there says
that the block is, with no list beside it that two writers could spoil.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from tempfile import TemporaryFile

from torch import Tensor

from lpstudy.disk import storage_errors_at
from lpstudy.teacher.bank_plan import BankedOutput
from lpstudy.teacher.store import Block, Outputs, Store, write_pieces

_NAME = re.compile(r"(\d{5})-(\d{9})-([0-9a-f]{64})")


class RemoteStore(Store):
    """See `Store`; `shared` is the object store, `folder` this machine's copy."""

    def prepare(self) -> None:
        """Nothing: objects are made whole."""

    def missing(self) -> tuple[list[Block], list[str]]:
        """Blocks that are not there; whether they are what their names say is seen by who fetches them."""
        have = [self._objects(kept) for kept in self.plan.banked_outputs]
        return [b for b in self.blocks() if any((b.view, b.first) not in objects for objects in have)], []

    def write(self, block: Block, pieces: Iterable[Outputs]) -> dict[str, str]:
        """Put what is not there of a block's outputs into the store; their SHA-256 by name."""
        wanted = [
            kept for kept in self.plan.banked_outputs if (block.view, block.first) not in self._objects(kept)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        size = sum(self._block_bytes(kept, block) for kept in wanted)
        with ExitStack() as stack, storage_errors_at(self.folder / "block", size):
            files = {k.name: stack.enter_context(TemporaryFile(dir=self.folder)) for k in wanted}
            digests = write_pieces(pieces, files)
            for name, file in files.items():
                file.seek(0)
                content = file.read()
                target = f"{block.view:05d}-{block.first:09d}-{digests[name]}"
                (self.shared / self._path(name).name).write(target, content)
        return digests

    def enter(self, block: Block, digests: Mapping[str, str]) -> None:
        """Nothing: the names of the objects say it."""

    def open_outputs(self) -> dict[str, Tensor]:
        """Every output that is kept, fetched where this machine's copy lacks or does not equal it.

        Raises:
            ValueError: A block was never filled, or differs from its SHA-256: then it is removed, to be
                filled again.
            OSError: The store does not answer, or the disk is full.
        """
        from filelock import FileLock

        if self._lacking():  # before the lock: a copy that is whole may be one that only can be read
            super().prepare()
            with storage_errors_at(self.folder), FileLock(self.folder / "copy.lock"):
                for kept, block, digest in self._lacking():
                    self._fetch(kept, block, digest)
        return super().open_outputs()

    def _lacking(self) -> list[tuple[BankedOutput, Block, str]]:
        """What the store has and this machine's copy does not, or otherwise; each with its SHA-256."""
        found = []
        for kept in self.plan.banked_outputs:
            objects = self._objects(kept)
            for block in self.blocks():
                digest = objects.get((block.view, block.first))
                if digest is not None and not self._copied(kept, block, digest):
                    found.append((kept, block, digest))
        return found

    def _objects(self, kept: BankedOutput) -> dict[tuple[int, int], str]:
        """SHA-256 by view and first sample; where several machines have made different ones, one of them."""
        names = (self.shared / self._path(kept.name).name).names()
        found = (match for match in map(_NAME.fullmatch, names) if match)
        return {(int(match[1]), int(match[2])): match[3] for match in found}

    def _copied(self, kept: BankedOutput, block: Block, digest: str) -> bool:
        entry = (self._entries(block.view) or {}).get(f"{kept.name} {block.first}")
        return entry == digest and self._state(kept, block) == "valid"

    def _fetch(self, kept: BankedOutput, block: Block, digest: str) -> None:
        folder, name = (
            self.shared / self._path(kept.name).name,
            f"{block.view:05d}-{block.first:09d}-{digest}",
        )
        content = folder.read(name)
        if hashlib.sha256(content).hexdigest() != digest:
            folder.remove(name)
            raise ValueError(f"{folder}/{name}: the SHA-256 differs; it is removed, to be computed again")
        with self._block_file(kept, block) as file:
            file.write(content)
        super().enter(block, {kept.name: digest})
