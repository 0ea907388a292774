import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from lpstudy.data.array_cache import load_or_decode
from lpstudy.data.arrays import Arrays, pixel_sums

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
LABELS = np.arange(6)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Reader:
    """Gives the arrays and counts how often it is asked."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> Arrays:
        self.reads += 1
        return Arrays(IMAGES, LABELS, IMAGES[:2], LABELS[:2], ("cat", "dog\udcff\n"))


def entry_of(folder: Path) -> Path:
    (entry,) = (folder / "arrays").iterdir()
    return entry


def test_reads_once_and_gives_the_same_arrays(folder):
    reader = Reader()
    first, second = load_or_decode("a", reader), load_or_decode("a", reader)
    assert reader.reads == 1
    for entry in (first, second):
        assert np.array_equal(entry.arrays.train_images, IMAGES)
        assert np.array_equal(entry.arrays.train_labels, LABELS)
        assert np.array_equal(entry.arrays.test_images, IMAGES[:2])
        assert entry.arrays.class_names == ("cat", "dog\udcff\n")
    assert first.content == second.content


def test_the_same_content_from_two_sources_is_one_entry(folder):
    assert load_or_decode("a", Reader()).content == load_or_decode("b", Reader()).content
    assert entry_of(folder).name == load_or_decode("a", Reader()).content


def test_images_are_mapped_and_never_change_on_disk(folder):
    images = load_or_decode("a", Reader()).arrays.train_images
    assert isinstance(images, np.memmap)
    torch.from_numpy(images).zero_()
    images.flush()
    assert np.array_equal(np.load(entry_of(folder) / "train_images.npy"), IMAGES)


def truncate(entry: Path) -> None:
    path = entry / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-7])


def change_a_byte(entry: Path) -> None:
    path = entry / "train_images.npy"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def swap_names(entry: Path) -> None:
    (entry / "class_names.json").write_text(json.dumps(["dog", "cat"]))


def remove_labels(entry: Path) -> None:
    (entry / "test_labels.npy").unlink()


def remove_all(entry: Path) -> None:
    for path in entry.iterdir():
        path.unlink()
    entry.rmdir()


def garble_pointer(entry: Path) -> None:
    (pointer,) = (entry.parent.parent / "sources").iterdir()
    pointer.write_bytes(b"\xff../../elsewhere")


@pytest.mark.parametrize(
    "damage", [truncate, change_a_byte, swap_names, remove_labels, remove_all, garble_pointer]
)
def test_a_damaged_entry_is_made_again(folder, damage):
    reader = Reader()
    load_or_decode("a", reader)
    damage(entry_of(folder))
    assert np.array_equal(load_or_decode("a", reader).arrays.train_images, IMAGES)
    assert reader.reads == 2
    load_or_decode("a", reader)
    assert reader.reads == 2


def test_leftovers_of_a_killed_writer_are_removed(folder):
    leftover = folder / "arrays" / ".writing-1234"
    leftover.mkdir(parents=True)
    (leftover / "train_images.npy").write_bytes(b"half")
    load_or_decode("a", Reader())
    assert not leftover.exists()


def test_a_reader_that_fails_leaves_nothing_behind(folder):
    def fail() -> Arrays:
        raise ValueError("bad image")

    with pytest.raises(ValueError, match="bad image"):
        load_or_decode("a", fail)
    assert not (folder / "arrays").exists()
    assert load_or_decode("a", Reader()).arrays.class_names[0] == "cat"


def test_many_at_once_read_once(folder):
    reader = Reader()
    with ThreadPoolExecutor(8) as pool:
        contents = {entry.content for entry in pool.map(lambda _: load_or_decode("a", reader), range(16))}
    assert (len(contents), reader.reads) == (1, 1)


def test_a_cache_that_cannot_be_written_is_one_line(folder):
    folder.write_text("not a folder")
    with pytest.raises(ValueError, match=r"cannot use the cache '.*' \(.*\): set LPSTUDY_CACHE") as caught:
        load_or_decode("a", Reader())
    assert "\n" not in str(caught.value)


def test_pixel_sums_are_exact():
    wide = IMAGES.astype(object)
    expected = np.stack([wide.sum(axis=(2, 3)), (wide**2).sum(axis=(2, 3))], axis=2)
    assert pixel_sums(IMAGES).tolist() == expected.tolist()
    bright = np.full((1, 1, 300, 300), 255, dtype=np.uint8)
    assert pixel_sums(bright).tolist() == [[[300 * 300 * 255, 300 * 300 * 255**2]]]
