import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from lpstudy.data import DataSpec, Order, construction, load
from lpstudy.data.image_folder import list_image_folder

SPEC = DataSpec(kind="image_folder")
CPU = torch.device("cpu")


def replace(path: Path, image: Image.Image) -> None:
    path.unlink()
    image.save(path)


def no_train(tree: Path) -> None:
    shutil.rmtree(tree / "train")


def nothing(tree: Path) -> None:
    shutil.rmtree(tree)


@pytest.mark.parametrize("remove", [no_train, nothing])
def test_a_missing_part_is_one_line_that_says_what_is_expected(tree, remove):
    remove(tree)
    with pytest.raises(FileNotFoundError) as caught:
        load(SPEC, root=tree)
    expected = f"image_folder is not in {str(tree)!r}: expected there train/<class>/* and test/<class>/* or"
    assert str(caught.value) == f"{expected} val/<class>/* or validation/<class>/*, or <class>/* alone"


def empty_class(tree: Path) -> None:
    for path in (tree / "train" / "apple").iterdir():
        path.unlink()


def only_hidden_files(tree: Path) -> None:
    empty_class(tree)
    (tree / "train" / "apple" / ".DS_Store").write_text("")


def class_in_train_only(tree: Path) -> None:
    shutil.rmtree(tree / "test" / "zebra")


def class_in_test_only(tree: Path) -> None:
    shutil.rmtree(tree / "train" / "zebra")


def one_class(tree: Path) -> None:
    for part in ("train", "test"):
        for name in ("apple", "zebra"):
            shutil.rmtree(tree / part / name)


def stray_image(tree: Path) -> None:
    shutil.copy(tree / "train" / "apple" / "000.png", tree / "train" / "stray.png")


def text_file(tree: Path) -> None:
    (tree / "train" / "apple" / "labels.txt").write_text("apple")


def linked_folder_in_a_class(tree: Path) -> None:
    (tree / "train" / "apple" / "more").symlink_to(tree / "train" / "zebra")


def endless_folders(tree: Path) -> None:
    (tree / "train" / "apple" / "/".join("x" * 110)).mkdir(parents=True)


def pipe(tree: Path) -> None:
    os.mkfifo(tree / "train" / "apple" / "endless.png")


def link_out(tree: Path) -> None:
    shutil.copy(tree / "train" / "apple" / "000.png", tree.parent / "secret.png")
    (tree / "train" / "apple" / "link.png").symlink_to(tree.parent / "secret.png")


def class_link_out(tree: Path) -> None:
    (tree / "train" / "zebra").rename(tree.parent / "zebra")
    (tree / "train" / "zebra").symlink_to(tree.parent / "zebra")


def train_link_out(tree: Path) -> None:
    (tree / "train").rename(tree.parent / "elsewhere")
    (tree / "train").symlink_to(tree.parent / "elsewhere")


def link_to_nowhere(tree: Path) -> None:
    (tree / "train" / "apple" / "link.png").symlink_to("gone.png")


def link_in_circles(tree: Path) -> None:
    (tree / "train" / "apple" / "link.png").symlink_to("link.png")


def truncated(tree: Path) -> None:
    path = tree / "train" / "apple" / "003.png"
    path.write_bytes(path.read_bytes()[:200])


def other_size(tree: Path) -> None:
    replace(tree / "test" / "zebra" / "011.png", Image.new("RGB", (13, 12)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty_class, "the class folder '.*/train/apple' has no images"),
        (only_hidden_files, "the class folder '.*/train/apple' has no images"),
        (class_in_train_only, "class 'zebra' of '.*' is in train but not in test"),
        (class_in_test_only, "class 'zebra' of '.*' is in test but not in train"),
        (one_class, "has 1 class folder, a data set needs two"),
        (stray_image, "'.*stray.png' must lie in the folder of its class"),
        (text_file, r"'.*/labels.txt' is not an image file: class folders hold .png .jpg"),
        (linked_folder_in_a_class, r"'.*/more' is not an image file"),
        (endless_folders, r"has folders more than 100 deep"),
        (pipe, r"'.*/endless.png' is not an image file"),
        (link_out, r"the link '.*/link.png' leads out of the data's folder"),
        (class_link_out, r"the link '.*/zebra' leads out of the data's folder"),
        (train_link_out, r"the link '.*/train' leads out of the data's folder"),
        (link_to_nowhere, r"the link '.*/link.png' leads nowhere"),
        (link_in_circles, r"the link '.*/link.png' leads nowhere"),
        (truncated, r"'.*/003.png'.*truncated"),
        (other_size, r"'.*/011.png' has 13x12 pixels, the first image 12x12: set image_size"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line_that_names_it(tree, damage, message):
    damage(tree)
    with pytest.raises(ValueError, match=message) as caught:
        load(SPEC, root=tree)
    assert "\n" not in str(caught.value)


def test_folders_within_a_class_are_of_the_class_as_in_torchvision(tree: Path) -> None:
    inner = tree / "train" / "apple" / "images" / "large"
    inner.mkdir(parents=True)
    for number in (2, 5):
        (tree / "train" / "apple" / f"{number:03}.png").rename(inner / f"{number:03}.png")
    oracle = ImageFolder(str(tree / "train"))
    data = load(SPEC, root=tree)
    assert data.class_names == tuple(oracle.classes)
    files = list_image_folder(tree, progress=False).train
    assert [str(tree / path.decode()) for path in files.paths] == [path for path, _ in oracle.imgs]
    assert files.labels.tolist() == oracle.targets


def test_links_inside_the_folder_are_followed(tree):
    (tree / "train" / "apple" / "link.png").symlink_to("000.png")
    data = load(SPEC, root=tree)
    assert len(data.train) + len(data.validation) == 31


def test_an_empty_val_is_ignored(tree):
    (tree / "val").mkdir()
    assert len(load(SPEC, root=tree).test) == 12


def test_images_of_many_sizes_are_resized_when_asked(tree):
    other_size(tree)
    data = load(DataSpec(kind="image_folder", image_size=8), root=tree)
    assert data.input_shape == (3, 8, 8)


def test_images_need_not_be_square(tree):
    for path in tree.glob("*/*/*.png"):
        replace(path, Image.new("RGB", (20, 10), (255, 0, 0)))
    data = load(DataSpec(kind="image_folder", pad=1, flip=True), root=tree)
    assert data.input_shape == (3, 10, 20)
    (batch, *_) = data.train.epoch(Order(0, 1, 4), device=CPU)
    assert batch.images.shape == (4, 3, 10, 20)


def test_a_channel_that_never_changes_gives_finite_images(tree):
    for path in tree.glob("*/*/*.png"):
        replace(path, Image.new("RGB", (12, 12), (255, 0, 7)))
    data = load(SPEC, root=tree)
    (batch,) = data.test.batches(batch_size=99, device=CPU)
    assert batch.images.abs().max() < 1e-3


def test_pad_must_be_below_the_side_of_the_images(tree):
    with pytest.raises(ValueError, match="pad is 12, it must be below the image's side of 12 pixels"):
        load(DataSpec(kind="image_folder", pad=12), root=tree)


def test_a_change_of_a_file_is_seen(tree):
    before = load(SPEC, root=tree)
    path = tree / "test" / "apple" / "000.png"
    times = path.stat()
    pixels = np.array(Image.open(path))
    replace(path, Image.fromarray(255 - pixels))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = load(SPEC, root=tree)
    assert after.fingerprint != before.fingerprint
    (one,), (other,) = (data.test.batches(batch_size=99, device=CPU) for data in (before, after))
    assert (one.images != other.images).flatten(1).any(dim=1).tolist() == [True] + [False] * 11


def test_hostile_names_are_only_data(tree, session_cache):
    hostile = os.fsencode(str(tree / "train")) + b"/a\n|<b>`\xff$(touch x)"
    os.rename(tree / "train" / "apple", hostile)
    os.rename(tree / "test" / "apple", hostile.replace(b"/train/", b"/test/"))
    data = load(SPEC, root=tree)
    assert data.class_names == ("a\n|<b>`\\xff$(touch x)", "n0001", "zebra")
    assert not any("<b>" in name for _, folders, files in os.walk(session_cache) for name in folders + files)


def test_relative_roots_start_at_the_working_directory(tree, monkeypatch):
    monkeypatch.chdir(tree.parent)
    assert load(DataSpec(kind="image_folder", root=Path("tree"))).name == "tree"


def test_an_explicit_root_overrides_the_spec_and_the_spec_overrides_the_default(tree, monkeypatch):
    nowhere = tree.parent / "nowhere"
    spec = DataSpec(kind="image_folder", root=nowhere)
    assert load(spec, root=tree).name == "tree"
    monkeypatch.setenv("LPSTUDY_DATA", str(tree))
    assert load(SPEC).name == "tree"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(spec)


def test_streams_what_would_fill_the_memory(tree, monkeypatch):
    decoded_bytes = 42 * 3 * 12 * 12
    monkeypatch.setattr(construction, "LARGEST_ARRAY", decoded_bytes + 1)
    assert type(load(SPEC, root=tree).train.pixels).__name__ == "ArrayPixels"
    monkeypatch.setattr(construction, "LARGEST_ARRAY", decoded_bytes)
    assert type(load(SPEC, root=tree).train.pixels).__name__ == "StreamPixels"


def test_imagenet_wants_val(tree):
    with pytest.raises(FileNotFoundError, match=r"expected there train/<class>/\* and val/<class>/\*$"):
        load(DataSpec(kind="imagenet"), root=tree)


def test_imagenet_is_224_pixels_by_default(tree):
    (tree / "test").rename(tree / "val")
    assert load(DataSpec(kind="imagenet"), root=tree).input_shape == (3, 224, 224)


@pytest.mark.parametrize("streaming", [False, True])
def test_progress_is_shown_on_standard_error_and_only_when_asked_for(tree, capfd, streaming):
    spec = DataSpec(kind="image_folder", streaming=streaming)
    load(spec, root=tree, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "listing train" in err
    assert ("measuring" if streaming else "decoding") in err
    load(spec, root=tree)
    assert capfd.readouterr() == ("", "")
