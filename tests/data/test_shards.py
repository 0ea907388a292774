"""Tar shards: what is read, and what is refused in one line."""

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from image_forms import png, write_tar

from lpstudy.data import Data, DataSpec, load

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
ENCODED = [png(image) for image in IMAGES]
Members = list[tuple[str, bytes]]


def members(
    suffix: str = "cls", label: Callable[[int], bytes] = lambda row: str(row % 2).encode()
) -> Members:
    return [
        member
        for row, content in enumerate(ENCODED)
        for member in ((f"{row:04}.png", content), (f"{row:04}.{suffix}", label(row)))
    ]


def loaded(root: Path, **keys: object) -> Data:
    return load(DataSpec.model_validate({"kind": "webdataset", "root": root} | keys))


def written(root: Path, content: Members) -> Data:
    write_tar(root / "train-000000.tar", content)
    return loaded(root)


def test_shards_of_the_librarys_own_writer_are_read(tmp_path: Path) -> None:
    with webdataset.ShardWriter(f"{tmp_path}/train-%06d.tar", maxcount=5, verbose=0) as writer:
        for row, content in enumerate(ENCODED):
            writer.write({"__key__": f"sample{row:04}", "png": content, "cls": row % 2})
    data = loaded(tmp_path)
    (batch,) = data.test.batches(batch_size=99, device=torch.device("cpu"))
    assert (len(batch.labels), data.class_names) == (4, ("0", "1"))


@pytest.mark.parametrize("file", ["classes.txt", "classnames.txt"])
def test_class_names_are_in_a_file_beside_the_shards(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("a cat\nthe dog\n")
    assert written(tmp_path, members()).class_names == ("a cat", "the dog")
    (tmp_path / file).write_text("a cat\nthe fox\n")
    assert loaded(tmp_path).class_names == ("a cat", "the fox")
    assert loaded(tmp_path / "train-*.tar").class_names == ("a cat", "the fox")
    assert loaded(tmp_path / "train-{000000..000000}.tar").class_names == ("a cat", "the fox")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (members(label=lambda row: [b"cat\n", b"dog\n"][row % 2]), ("cat", "dog")),
        (members("json", lambda row: json.dumps({"label": row % 2, "x": [1]}).encode()), ("0", "1")),
        (members("json", lambda row: json.dumps({"label": "ab"[row % 2]}).encode()), ("a", "b")),
        ([(name.replace("png", "PNG"), content) for name, content in members()], ("0", "1")),
        ([(f"./part.1/{name}", content) for name, content in members()], ("0", "1")),
        ([("._0000.png", b"of macOS"), ("__meta__", b"x"), *members(), ("0011.pyd", b"pickle")], ("0", "1")),
    ],
)
def test_labels_are_numbers_or_texts_and_other_members_are_passed_over(
    content: Members, names: tuple[str, ...], tmp_path: Path
) -> None:
    assert written(tmp_path, content).class_names == names


def test_braces_name_many_shards(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"train-{number}.tar", members())
    write_tar(tmp_path / "val-0.tar", members())
    data = loaded(tmp_path / "{train-{0..1},val-0}.tar")
    assert (len(data.train) + len(data.validation), len(data.test)) == (24, 12)
    with pytest.raises(
        FileNotFoundError, match=r"webdataset is not in '.*3\}.tar': there is no '.*/train-3.tar'"
    ):
        loaded(tmp_path / "train-{0..3}.tar")
    with pytest.raises(ValueError, match="has a brace without its other one"):
        loaded(tmp_path / "train-{0..3.tar")
    with pytest.raises(ValueError, match="names more than 100,000 shards"):
        loaded(tmp_path / "train-{0..999}{0..999}.tar")


def test_images_stay_in_their_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    write_tar(tmp_path / "root" / "train-0.tar", members())
    loaded(tmp_path / "root", streaming=True)
    content = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not any(ENCODED[0][-40:] in each for each in content)


def test_without_the_library_one_line_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("webdataset"):
            raise ImportError
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ValueError, match=r"needs the package webdataset: pip install 'lpstudy\[webdataset\]'"
    ):
        written(tmp_path, members())


def no_tar(root: Path) -> None:
    (root / "train-0.tar").write_bytes(b"no archive" * 100)


def empty(root: Path) -> None:
    (root / "train-0.tar").write_bytes(b"")


def cut_off(root: Path) -> None:
    write_tar(root / "train-0.tar", members())
    content = (root / "train-0.tar").read_bytes()
    (root / "train-0.tar").write_bytes(content[: 512 * 9 + 100])


def damaged(root: Path) -> None:
    write_tar(root / "train-0.tar", members())
    content = bytearray((root / "train-0.tar").read_bytes())
    content[512 * 8 : 512 * 10] = b"x" * 1024
    (root / "train-0.tar").write_bytes(bytes(content))


def shard(content: Members, **files: bytes) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        write_tar(root / "train-0.tar", content)
        for name, text in files.items():
            (root / f"{name}.txt").write_bytes(text)

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (no_tar, r"'train-0.tar' is no tar file, or a damaged one: "),
        (empty, r"'train-0.tar' is no tar file, or a damaged one: "),
        (cut_off, r"'train-0.tar' is (no tar file, or a damaged one|damaged): "),
        (damaged, r"'train-0.tar' is damaged: what begins at byte 4,096 is no member"),
        (shard([("0.cls", b"1")]), r"'train-0.tar/0' has 0 images, a sample has one"),
        (shard([("0.png", b""), ("0.jpg", b"")]), r"'train-0.tar/0' has 2 images, a sample has one"),
        (shard([("0.png", b"")]), r"'train-0.tar/0' has no label: neither .cls nor .json"),
        (shard([("0.png", b""), ("0.png", b"")]), r"0.png: duplicate file name in tar file"),
        (shard(members(label=lambda row: b"")), r"train: image 0 has no label"),
        (shard(members(label=lambda row: b"-1")), r"train: image 0 has no label \(-1\)"),
        (
            shard(members(label=lambda row: b"x" * 70_000)),
            r"'train-0.tar/0000.cls' has 70,000 bytes, more than",
        ),
        (shard(members("json", lambda row: b"[" * 60_000)), r"its .json is no table with a key label"),
        (
            shard(members("json", lambda row: b'{"label": true}')),
            r"must be a whole number or a text but is 'True'",
        ),
        (shard(members("json", lambda row: b'{"label": [1]}')), r"must be a whole number or a text but is"),
        (shard(members(), classes=b"one\n"), r"train: label 1 of image 1 is outside of \[0, 1\)"),
        (shard(members(), classes=b"one\none\n"), r"class names must be distinct texts"),
        (shard(members(), classes=b"\xff\xfe\n"), r"'classes.txt' in .* is not UTF-8"),
        (shard(members(), classes=b"x" * (2**22 + 1)), r"'classes.txt' has more than 4,194,304 bytes"),
        (
            shard([*members(), ("0012.png", b"no image"), ("0012.cls", b"1")]),
            r"'train-0.tar/0012' is not an image",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        loaded(tmp_path)
    assert str(error.value).isprintable()


def test_a_shard_that_was_cut_since_it_was_indexed_is_read_again(tmp_path: Path) -> None:
    written(tmp_path, members())
    cut_off(tmp_path)
    (tmp_path / "train-000000.tar").unlink()
    with pytest.raises(ValueError, match=r"'train-0.tar' is "):
        loaded(tmp_path)
