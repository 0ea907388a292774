"""Rules for data sets of every kind: one more is tested by its entry in MAKERS."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from lpstudy.data import Data, DataSpec, Order, Share, load
from lpstudy.data.augment import placement
from lpstudy.data.split import Split
from lpstudy.outputs import Batch

CPU = torch.device("cpu")


def with_(spec: DataSpec, **changes: object) -> DataSpec:
    return DataSpec.model_validate({**dict(spec), **changes})


def bytes_of(images: Tensor, data: Data) -> Tensor:
    """The pixels of normalised images before their normalisation."""
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (data.mean, data.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


def whole(split: Split) -> Batch:
    (batch,) = split.batches(batch_size=len(split), device=CPU)
    return batch


def one_epoch(split: Split, batch_size: int = 8, seed: int = 1, epoch: int = 1) -> list[Batch]:
    return list(split.epoch(Order(seed, epoch, batch_size), device=CPU))


def same(one: Iterable[Batch], other: Iterable[Batch]) -> bool:
    return all(
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and torch.equal(a.samples, b.samples)
        and a.view == b.view
        for a, b in zip(one, other, strict=True)
    )


def test_gives_the_test_images_as_they_were_written(example):
    data = load(example.spec)
    batch = whole(data.test)
    assert torch.equal(bytes_of(batch.images, data), torch.from_numpy(example.test_images))
    assert batch.labels.tolist() == example.test_labels.tolist() == data.test.labels.tolist()
    assert batch.samples.tolist() == list(range(len(example.test_labels)))
    assert batch.view == 0


def test_training_and_validation_part_make_up_the_training_set(example):
    data = load(example.spec)
    parts = [whole(part) for part in (data.train, data.validation)]
    loaded = [
        (image.numpy().tobytes(), label)
        for batch in parts
        for image, label in zip(bytes_of(batch.images, data), batch.labels.tolist(), strict=True)
    ]
    expected = zip(
        (image.tobytes() for image in example.train_images), example.train_labels.tolist(), strict=True
    )
    assert sorted(loaded) == sorted(expected)


def test_every_class_gives_its_fraction_to_validation(example):
    data = load(with_(example.spec, validation_fraction=0.4))
    counts = np.bincount(example.train_labels)
    assert np.bincount(data.validation.labels).tolist() == np.rint(counts * 0.4).astype(int).tolist()


def test_describes_itself(example):
    data = load(with_(example.spec, pad=2, flip=True))
    assert data.input_shape == example.train_images.shape[1:]
    assert data.class_names == example.class_names
    assert data.classes == len(example.class_names)
    assert data.augmentations == 5 * 5 * 2
    assert (len(data.mean), len(data.std)) == (data.input_shape[0],) * 2


def test_training_batches_are_normalised(example):
    data = load(example.spec)
    images = whole(data.train).images
    assert images.dtype == torch.float32
    if example.spec.kind == "imagenet":
        assert data.mean == (0.485, 0.456, 0.406)
        return
    spread, mean = torch.std_mean(images, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0)
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-4, rtol=0)


def test_an_epoch_shows_every_sample_once(example):
    split = load(example.spec).train
    batches = one_epoch(split, batch_size=1)
    samples = torch.cat([batch.samples for batch in batches])
    assert sorted(samples.tolist()) == list(range(len(split)))
    assert samples.tolist() != sorted(samples.tolist())
    assert torch.equal(torch.cat([batch.labels for batch in batches]), split.labels[samples])


def test_drops_a_short_last_batch(example):
    split = load(example.spec).train
    assert [len(batch.labels) for batch in one_epoch(split)] == [8] * (len(split) // 8)


def test_an_epoch_is_never_empty(example):
    split = load(example.spec).train
    (batch,) = one_epoch(split, batch_size=len(split) + 1)
    assert len(batch.labels) == len(split)


def test_keeps_the_last_batch_in_order(example):
    split = load(example.spec).test
    sizes = [len(batch.labels) for batch in split.batches(batch_size=8, device=CPU)]
    assert sizes == [8] * (len(split) // 8) + [len(split) % 8] * (len(split) % 8 > 0)


def test_seed_and_epoch_determine_batches_and_views(example):
    spec = with_(example.spec, pad=2, flip=True)
    first = one_epoch(load(spec).train)
    assert same(first, one_epoch(load(spec).train))
    for other in (one_epoch(load(spec).train, seed=2), one_epoch(load(spec).train, epoch=2)):
        assert not torch.equal(first[0].samples, other[0].samples)
    views = [one_epoch(load(spec).train, epoch=epoch)[0].view for epoch in (1, 2, 3)]
    assert first[0].view == views[0]
    assert len(set(views)) == 3


def test_few_views_are_shown_in_turn(example):
    data = load(with_(example.spec, pad=2, flip=True)).with_views(3)
    assert data.views == 3
    views = [one_epoch(data.train, epoch=epoch)[0].view for epoch in range(1, 7)]
    assert sorted(views[:3]) == sorted(views[3:]) == [0, 1, 2]
    for views in (0, 51):
        with pytest.raises(ValueError, match=rf"views must lie in \[1, 50\] but is {views}"):
            data.with_views(views)


def test_one_view_of_some_samples_is_what_an_epoch_shows_of_them(example):
    data = load(with_(example.spec, pad=2, flip=True))
    (first, *_) = one_epoch(data.train, epoch=3)
    (again,) = data.train.one_view(first.view, first.samples, batch_size=8, device=CPU)
    assert same([first], [again])


def test_a_view_is_a_crop_of_the_padded_image_and_perhaps_its_mirror_image(example):
    data = load(with_(example.spec, pad=3, flip=True, split_seed=5))
    originals = bytes_of(whole(data.train).images, data).numpy()
    (batch, *_) = one_epoch(data.train)
    _, height, width = data.input_shape
    pixels = bytes_of(batch.images, data).numpy()
    for image, sample in zip(pixels, batch.samples, strict=True):
        dy, dx, flipped = (
            value.item() for value in placement(sample[None], batch.view, pad=3, flip=True, seed=5)
        )
        padded = np.pad(originals[sample], ((0, 0), (3, 3), (3, 3)))
        crop = padded[:, dy : dy + height, dx : dx + width]
        assert np.array_equal(image, crop[:, :, ::-1] if flipped else crop)


def test_without_pad_and_flip_nothing_is_augmented(example):
    data = load(example.spec)
    (batch, *_) = one_epoch(data.train)
    assert torch.equal(batch.images, whole(data.train).images[batch.samples])
    assert batch.view == 0


def test_workers_share_the_batch_of_one_worker(example):
    split = load(with_(example.spec, pad=1)).train
    alone = one_epoch(split)
    shares = [list(split.epoch(Order(1, 1, 8), device=CPU, share=Share(rank, 2))) for rank in range(2)]
    for batch, *parts in zip(alone, *shares, strict=True):
        assert [len(part.labels) for part in parts] == [4, 4]
        assert {part.view for part in parts} == {batch.view}
        for name in ("images", "labels", "samples"):
            joined = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(joined, getattr(batch, name))


@pytest.mark.parametrize(
    ("batch_size", "rank", "workers", "message"),
    [
        (9, 0, 2, "batch_size must be divisible by the 2 workers but got 9"),
        (0, 0, 1, "batch_size must be at least 1 but got 0"),
        (8, 2, 2, r"rank must lie in \[0, 2\)"),
        (11 * 10_007, 0, 11, "11 workers cannot share a last batch"),
    ],
)
def test_refuses_batches_that_cannot_be_shared(example, batch_size, rank, workers, message):
    split = load(example.spec).train
    with pytest.raises(ValueError, match=message):
        split.epoch(Order(1, 1, batch_size), device=CPU, share=Share(rank, workers))


def test_leaves_the_global_generators_alone(example):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (looked at)
    data = load(with_(example.spec, pad=1, flip=True, labels_per_class=2))
    one_epoch(data.train)
    whole(data.test)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002 (looked at)


def test_few_labels_are_as_many_of_each_class_and_leave_the_rest_alone(example):
    everything, few = load(example.spec), load(with_(example.spec, labels_per_class=3))
    assert np.bincount(few.train.labels).tolist() == [3] * few.classes
    assert few.validation.labels.tolist() == everything.validation.labels.tolist()
    assert len(few.test) == len(everything.test)


def test_more_labels_than_there_are_is_an_error(example):
    with pytest.raises(ValueError, match="labels_per_class is 999, but class") as caught:
        load(with_(example.spec, labels_per_class=999))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_changes_with_what_changes_pixels_labels_or_the_split(example):
    changes = [
        {},
        {"split_seed": 1},
        {"validation_fraction": 0.4},
        {"labels_per_class": 2},
        {"labels_per_class": 3},
        {"pad": 1},
        {"flip": True},
        {"crop": "resized"},
        {"crop": "resized", "scale": [0.25, 1.0]},
        {"crop": "resized", "ratio": [1.0, 1.0]},
        {"augment": "randaugment"},
        {"augment": "randaugment", "magnitude": 5},
        {"augment": "randaugment", "operations": 1},
        {"augment": "trivialaugment"},
        {"erase": 0.1},
        {"erase": 0.2},
    ]
    fingerprints = [load(with_(example.spec, **change)).fingerprint for change in changes]
    assert len(set(fingerprints)) == len(changes)
    assert all(len(bytes.fromhex(value)) == 32 for value in fingerprints)


def test_a_copy_elsewhere_has_the_same_fingerprint(file_example, tmp_path):
    before = load(file_example.spec).fingerprint
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    assert load(file_example.spec, root=tmp_path / "elsewhere").fingerprint == before


def test_missing_data_is_one_line_that_names_the_folder(file_example, tmp_path, monkeypatch, capfd):
    # A proxy that nobody runs: the download fails as it does without a network.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(FileNotFoundError) as caught:
        load(file_example.spec, root=tmp_path / "nowhere")
    message = str(caught.value)
    assert "\n" not in message
    assert repr(str(tmp_path / "nowhere")) in message
    assert "expected there" in message
    assert capfd.readouterr() == ("", "")
