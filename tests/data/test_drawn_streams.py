"""Crops of random size of files: cut from the whole image; and the cut that is usual in tests of ImageNet."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from lpstudy.data import Data, DataSpec, Order, Share, load
from lpstudy.data.images import decode_pixels
from lpstudy.data.resized_crop import BoxRange, ViewCrops
from lpstudy.data.stream import StreamPixels
from lpstudy.outputs import Batch

CPU = torch.device("cpu")
SIDE = 16
PHOTO = Image.fromarray(load_sample_image("china.jpg"))


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """One decodes images in this process, two in two other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pieces of a photograph, of several sizes."""
    for part, count in (("train", 10), ("test", 3)):
        for name in ("left", "right"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                x, y = 20 * number + 250 * (name == "right"), 10 * number
                piece = PHOTO.crop((x, y, x + 40 + 4 * number, y + 60 - 3 * number))
                piece.save(folder / f"{number:02}.png")
    return tmp_path


def spec(**keys: object) -> DataSpec:
    return DataSpec.model_validate({"kind": "image_folder", "image_size": SIDE} | keys)


def shown(data: Data, share: Share | None = None) -> list[Batch]:
    return [*data.train.epoch(Order(1, 2, 4), device=CPU, share=share or Share())]


def bytes_of(images: Tensor, data: Data) -> Tensor:
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (data.mean, data.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


def test_crops_are_cut_from_the_images_of_the_files(photos, threads):
    data = load(spec(crop="resized", split_seed=4, scale=[0.2, 0.9], ratio=[0.5, 2.0]), root=photos)
    pixels = data.train.pixels
    assert isinstance(pixels, StreamPixels)  # though the images would fit in memory
    batches = shown(data)
    crops = ViewCrops(BoxRange((0.2, 0.9), (0.5, 2.0)), 4, batches[0].view)
    for batch in batches:
        for image, box, sample in zip(
            bytes_of(batch.images, data), crops.box_functions(batch.samples), batch.samples, strict=True
        ):
            file = Image.open(photos / bytes(pixels.files.paths[sample]).decode())
            place = box(file.height, file.width)
            expected = functional.resized_crop(file, *place, size=[SIDE, SIDE], antialias=True)
            assert np.array_equal(image.numpy(), np.asarray(expected).transpose(2, 0, 1))


def test_all_of_it_does_not_depend_on_workers_or_batches(photos, threads):
    keys = {"crop": "resized", "flip": True, "augment": "trivialaugment", "erase": 0.5}
    data = load(spec(**keys), root=photos)
    whole = shown(data)
    shares = [shown(data, Share(rank, 2)) for rank in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    samples = torch.cat([batch.samples for batch in whole])
    (again,) = data.train.one_view(whole[0].view, samples, batch_size=99, device=CPU)
    assert torch.equal(again.images, torch.cat([batch.images for batch in whole]))


def test_with_labels_of_another_number_the_same_files_stream(photos):
    data = load(spec(crop="resized", labels_per_class=4), root=photos)
    every = data.labelled(None)
    assert isinstance(every.train.pixels, StreamPixels)
    assert len(every.train) == len(every.train.pixels.files) == 16
    assert len(shown(every)) == 4


def test_images_in_memory_are_cut_as_they_are_there(photos):
    data = load(spec(crop="resized", streaming=False), root=photos)
    batch, *_ = shown(data)
    crops = ViewCrops(BoxRange((0.08, 1.0), (3 / 4, 4 / 3)), 0, batch.view)
    (squares,) = data.train.pixels.read([batch.samples])
    assert torch.equal(bytes_of(batch.images, data), crops.cut(squares, batch.samples))


def test_plain_images_of_a_stream_are_centre_squares_as_ever(photos):
    drawn, plain = (load(spec(crop=crop, streaming=True), root=photos) for crop in ("resized", "pad"))
    for one, other in zip(
        *(data.test.batches(batch_size=4, device=CPU) for data in (drawn, plain)), strict=True
    ):
        assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (300, 1000), (256, 256), (256, 300), (90, 110)])
def test_the_usual_test_of_imagenet_is_torchvisions_to_rounding(tmp_path, size):
    photo = PHOTO.resize(size)
    photo.save(tmp_path / "a.png")
    expected = np.asarray(v2.CenterCrop(224)(v2.Resize(256)(photo))).transpose(2, 0, 1)
    difference = decode_pixels(bytes(tmp_path / "a.png"), 224, 256).astype(int) - expected
    assert np.abs(difference).max() <= 1  # Pillow chooses which direction it resamples first


@pytest.mark.parametrize("streaming", [True, False])
def test_a_larger_shorter_side_is_part_of_the_data_and_of_a_models_description(photos, streaming):
    data = load(spec(resize=20, streaming=streaming), root=photos)
    plain = load(spec(streaming=streaming), root=photos)
    assert data.fingerprint != plain.fingerprint
    assert (data.resize, plain.resize) == (20, None)
    (batch,) = data.test.batches(batch_size=99, device=CPU)
    paths = sorted((photos / "test").glob("*/*"))
    for image, path in zip(bytes_of(batch.images, data), paths, strict=True):
        assert np.array_equal(image.numpy(), decode_pixels(bytes(path), SIDE, 20))
        assert not np.array_equal(image.numpy(), decode_pixels(bytes(path), SIDE))


def test_operations_on_colours_need_colours_that_they_know(tmp_path):
    from lpstudy.data import arrays_with_test_part, data_from_arrays

    images = np.random.default_rng(0).integers(0, 256, (30, 2, 8, 8), dtype=np.uint8)
    arrays = arrays_with_test_part(images, np.arange(30) % 2, ("one", "two"))
    keys = DataSpec(kind="digits", augment="randaugment")
    with pytest.raises(ValueError, match=r"augment: randaugment is for images of 1 or 3 channels, .* have 2"):
        data_from_arrays(arrays, keys, name="pairs")
