"""A bank in an object store, which each machine copies to its own disk."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_banks import SmallBank

from lpstudy.data import Data
from lpstudy.folder import folder_at
from lpstudy.teacher import Store, TrainedTeacher, bank_origin, bank_store, compute_blocks, load_or_train

MakeBank = Callable[..., SmallBank]
CPU = torch.device("cpu")


@pytest.fixture
def bank(make_bank: MakeBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallBank:
    """A bank that is computed on this disk and then read from an object store."""
    near = make_bank(views=2)
    near.fill()
    monkeypatch.setenv("LPSTUDY_CACHE", f"local://{tmp_path}/afar")
    return near


class Machine:
    """One with a disk of its own."""

    def __init__(self, near: SmallBank, disk: Path, patch: pytest.MonkeyPatch) -> None:
        self._near, self._disk, self._patch = near, disk, patch

    def _store(self) -> Store:
        self._patch.setenv("LPSTUDY_LOCAL", str(self._disk))
        near = self._near
        return bank_store(near.plan, near.file, near.spec.teacher, near.data, CPU)

    def fill(self) -> list[tuple[int, int]]:
        """Compute the missing blocks as a study does; return the computed blocks."""
        store, near = self._store(), self._near
        missing, damaged = store.missing()
        assert damaged == []
        store.prepare()
        store.describe(bank_origin(near.plan, near.file, near.data))
        for computed_block in compute_blocks(store, near.data, near.teacher, missing):
            store.enter(computed_block.block, computed_block.digests)
        return [(block.view, block.first) for block in missing]

    def open_outputs(self) -> dict[str, torch.Tensor]:
        """Open the outputs as a trial does."""
        return self._store().open_outputs()


ALL = [(view, first) for view in (0, 1) for first in (0, 40, 80)]


def objects(tmp_path: Path) -> dict[str, list[Path]]:
    """By output."""
    paths: dict[str, list[Path]] = {}
    for path in sorted((tmp_path / "afar").glob("banks/*/*/*")):
        paths.setdefault(path.parent.name, []).append(path)
    return paths


def test_what_one_machine_fills_another_one_reads(
    bank: SmallBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Machine(bank, tmp_path / name, monkeypatch) for name in ("first", "second"))
    assert first.fill() == ALL
    assert second.fill() == []
    assert {output: len(paths) for output, paths in objects(tmp_path).items()} == {
        "embedding.fp16": 6,
        "logits.fp16": 6,
    }
    expected = bank.store.open_outputs()
    for machine in (second, first):
        outputs = machine.open_outputs()
        assert outputs.keys() == expected.keys()
        assert all(torch.equal(outputs[name], expected[name]) for name in expected)


def test_an_object_that_differs_from_its_name_is_removed_and_computed_again(
    bank: SmallBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(bank, tmp_path / "machine", monkeypatch)
    machine.fill()
    spoilt = objects(tmp_path)["logits.fp16"][4]
    content = spoilt.read_bytes()
    spoilt.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"{spoilt.name}: the SHA-256 differs; it is removed"):
        machine.open_outputs()
    assert machine.fill() == [(1, 40)]
    assert spoilt.read_bytes() == content
    assert torch.equal(machine.open_outputs()["logits"], bank.store.open_outputs()["logits"])


def test_a_copy_that_is_damaged_is_fetched_again(
    bank: SmallBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(bank, tmp_path / "machine", monkeypatch)
    machine.fill()
    machine.open_outputs()
    (copy,) = (tmp_path / "machine").glob("banks/*/logits.fp16")
    copy.write_bytes(copy.read_bytes()[:100])
    assert torch.equal(machine.open_outputs()["logits"], bank.store.open_outputs()["logits"])


def test_missing_blocks_are_reported(
    bank: SmallBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="view 0 is incomplete"):
        Machine(bank, tmp_path / "machine", monkeypatch).open_outputs()


def test_a_teacher_is_saved_in_the_store(bank: SmallBank, data: Data, tmp_path: Path) -> None:
    results = [list(load_or_train(bank.spec.teacher, data, device=CPU)) for _ in range(2)]
    (file,) = results[0]
    assert isinstance(file, TrainedTeacher)
    assert results[1] == [file]
    assert file.folder == f"local://{tmp_path}/afar/teachers/{file.key}"
    names = ["model.json", "teacher.json", "test_logits.safetensors", "weights.safetensors"]
    assert folder_at(file.folder).names() == names
    assert file.sha256 == bank.file.sha256
