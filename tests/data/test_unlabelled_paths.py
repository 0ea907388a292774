"""`[data] unlabelled = PATH`: images that nobody has labelled, beside any data set."""

import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from example_sets import tree_images
from image_forms import png, write_npz, write_shards, write_table, write_tar, write_tree
from PIL import Image

from lpstudy.data import Data, DataSpec, Order, load
from lpstudy.data.decoding import grey
from lpstudy.outputs import NO_LABEL

CPU = torch.device("cpu")
MORE = np.random.default_rng(9).integers(0, 256, (7, 3, 12, 12), dtype=np.uint8)
ENCODED = [png(image) for image in MORE]


def as_folder(root: Path) -> Path:
    """At several depths, in the order of their names."""
    for number, content in enumerate(ENCODED):
        path = root / ("deep/er" if number > 3 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / ".DS_Store").write_text("x")
    for number in range(4):  # files of a folder are read in the order of all names
        (root / f"{number}.png").rename(root / f"a{number}.png")
    return root


def as_parquet(root: Path) -> Path:
    write_table(root / "images.parquet", {"image": ENCODED})
    return root / "images.parquet"


def as_parquet_folder(root: Path) -> Path:
    as_parquet(root / "data")
    return root


def as_shards(root: Path) -> Path:
    write_tar(root / "part-0.tar", [(f"{row}.png", content) for row, content in enumerate(ENCODED[:4])])
    write_tar(root / "part-1.tar", [(f"{row}.png", content) for row, content in enumerate(ENCODED[4:])])
    return root


FORMS: dict[str, Callable[[Path], Path]] = {
    "folder": as_folder,
    "parquet": as_parquet,
    "folder of parquet": as_parquet_folder,
    "shards": as_shards,
}


def loaded(tree: Path, **keys: object) -> Data:
    return load(DataSpec.model_validate({"kind": "image_folder", "root": tree} | keys))


def shown(data: Data) -> list[bytes]:
    """The images without a label, before their normalisation."""
    (batch,) = data.train.batches(batch_size=999, device=CPU)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (data.mean, data.std))
    images = ((batch.images * std + mean) * 255).round().to(torch.uint8)
    return [image.tobytes() for image in images[batch.labels == NO_LABEL].numpy()]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_adds_its_images_to_the_training_part(
    form: str, streaming: bool, tree: Path, tmp_path: Path
) -> None:
    place = FORMS[form](tmp_path / "more")
    plain = loaded(tree, streaming=streaming)
    data = loaded(tree, streaming=streaming, unlabelled=str(place))
    assert (data.train.labelled, len(data.train)) == (24, 31)
    assert data.train.labels[:24].tolist() == plain.train.labels.tolist()
    assert sorted(shown(data)) == sorted(image.tobytes() for image in MORE)
    assert data.validation.labels.tolist() == plain.validation.labels.tolist()
    assert len(data.test) == len(plain.test)
    assert data.whole is not None
    assert len(data.whole) == 24  # a teacher that learns from all labels sees no others
    batch = next(data.train.epoch(Order(0, 1, 8), device=CPU))
    assert (batch.labels != NO_LABEL).tolist() == [True] * 4 + [False] * 4
    shutil.move(tmp_path / "more", tmp_path / "moved")
    moved = tmp_path / "moved" / place.relative_to(tmp_path / "more")
    again = loaded(tree, streaming=streaming, unlabelled=str(moved))
    assert again.fingerprint == data.fingerprint != plain.fingerprint


def test_the_rest_and_paths_are_one_list(tree: Path, tmp_path: Path) -> None:
    places = ["rest", str(as_folder(tmp_path / "more")), str(as_shards(tmp_path / "shards"))]
    data = loaded(tree, labels_per_class=3, unlabelled=places)
    assert (data.train.labelled, len(data.train)) == (9, 9 + 15 + 14)
    assert len(loaded(tree, labels_per_class=3, unlabelled=places[1:]).train) == 9 + 14
    assert len(loaded(tree, labels_per_class=3, unlabelled="rest").train) == 9 + 15


@pytest.mark.parametrize("streaming", [False, True])
def test_they_get_the_size_of_the_labelled_images_by_the_same_rule(
    streaming: bool, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    large = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "more" / "large.png")
    data = loaded(tree, streaming=streaming, unlabelled=str(tmp_path / "more"))
    square = Image.fromarray(large).resize((12, 12), Image.Resampling.BILINEAR, box=(5, 0, 25, 20))
    assert shown(data) == [np.asarray(square).transpose(2, 0, 1).tobytes()]
    sized = loaded(tree, streaming=streaming, unlabelled=str(tmp_path / "more"), image_size=8, resize=9)
    (batch,) = sized.train.batches(batch_size=99, device=CPU)
    assert batch.images.shape == (25, 3, 8, 8)


def test_beside_arrays_they_get_their_size_and_colours(tmp_path: Path) -> None:
    train, labels, test, test_labels, names = tree_images()
    write_npz(tmp_path / "set.npz", {"train": (train, labels), "test": (test, test_labels)}, names)
    spec = {"kind": "npz", "root": tmp_path / "set.npz", "unlabelled": str(as_parquet(tmp_path / "more"))}
    data = load(DataSpec.model_validate(spec))
    assert sorted(shown(data)) == sorted(image.tobytes() for image in MORE)
    digits = load(DataSpec(kind="digits", unlabelled=spec["unlabelled"]))
    assert (digits.input_shape, len(shown(digits))) == ((1, 8, 8), 7)
    small = [Image.fromarray(image.transpose(1, 2, 0)).resize((8, 8), 2) for image in MORE]
    expected = [np.asarray(image.convert("L")) for image in small]
    pixels = [np.frombuffer(image, np.uint8).reshape(8, 8) for image in shown(digits)]
    assert all(np.array_equal(*pair) for pair in zip(pixels, expected, strict=True))


def test_workers_in_other_folders_find_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = DataSpec.model_validate(
        {"kind": "digits", "labels_per_class": 5, "unlabelled": ["rest", "more", "s3://a"]}
    )
    assert spec.located().unlabelled == ("rest", str(tmp_path / "more"), "s3://a")
    again = DataSpec.model_validate_json(spec.located().model_dump_json())
    assert again == spec.located()
    assert DataSpec(kind="digits").located() == DataSpec(kind="digits")


def test_grey_is_pillows() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 50, 40), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
    assert np.array_equal(grey(image)[0], expected)


def test_parquet_and_shards_are_read_from_urls(tree: Path, tmp_path: Path) -> None:
    as_shards(tmp_path / "more")
    as_parquet(tmp_path / "more")
    store = fsspec.filesystem("memory")
    store.put(f"{tmp_path}/more/", f"/{tmp_path.name}/", recursive=True)
    for name in ("part-{0..1}.tar", "images.parquet"):
        data = loaded(tree, unlabelled=f"memory://{tmp_path.name}/{name}")
        assert sorted(shown(data)) == sorted(image.tobytes() for image in MORE)


def test_labelled_shards_and_trees_serve_without_their_labels(tree: Path, tmp_path: Path) -> None:
    train, labels, *_, names = tree_images()
    write_shards(tmp_path / "shards", {"train": (train, labels)}, names)
    write_tree(tmp_path / "folder", {"train": (train, labels)}, names)
    for place in ("shards", "folder"):
        assert len(shown(loaded(tree, unlabelled=str(tmp_path / place)))) == 30


def empty(root: Path) -> None:
    root.mkdir()


def a_text(root: Path) -> None:
    as_folder(root)
    (root / "notes.txt").write_text("x")


def a_link_out(root: Path) -> None:
    as_folder(root)
    (root / "out").symlink_to("/etc")


def a_link_in_circles(root: Path) -> None:
    as_folder(root)
    (root / "round").symlink_to(root)


def no_image(root: Path) -> None:
    as_folder(root)
    (root / "b.png").write_bytes(b"no image")


def other_table(root: Path) -> None:
    write_table(root / "a.parquet", {"text": ["x"]})


def empty_shard(root: Path) -> None:
    write_tar(root / "a.tar", [("a.txt", b"x")])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda root: None,
            r"\[data\] unlabelled: '.*more' is no folder, and names no .parquet or .tar file",
        ),
        (empty, r"\[data\] unlabelled: '.*more' has no images"),
        (a_text, r"\[data\] unlabelled: '.*notes.txt' is not an image file"),
        (a_link_out, r"\[data\] unlabelled: the link '.*out' leads out of the data's folder"),
        (a_link_in_circles, r"\[data\] unlabelled: '.*round' is not an image file"),
        (no_image, r"'.*b.png' is not an image, or a damaged one"),
        (other_table, r"\[data\] unlabelled: 'a.parquet' has no column 'image' or 'img' but 'text'"),
        (empty_shard, r"\[data\] unlabelled: 'a.tar/a' has 0 images"),
    ],
)
def test_what_is_wrong_is_one_line(
    write: Callable[[Path], None], message: str, tree: Path, tmp_path: Path
) -> None:
    write(tmp_path / "more")
    with pytest.raises(ValueError, match=message) as error:
        loaded(tree, unlabelled=str(tmp_path / "more"))
    assert str(error.value).isprintable()


def test_images_of_the_test_set_among_them_are_counted(tree: Path, tmp_path: Path) -> None:
    from lpstudy.data import part_remarks

    shutil.copytree(tree / "test", tmp_path / "more")
    data = loaded(tree, unlabelled=str(tmp_path / "more"))
    (line,) = part_remarks(data.train, data.validation, data.test)
    assert line.startswith("12 of 12 test images are also among the training or validation images")
