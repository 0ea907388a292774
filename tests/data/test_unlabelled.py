"""Images without labels: a fixed share of each batch, paired, shared and resumable as all else."""

from collections import Counter

import pytest
import torch

from lpstudy.data import Data, DataSpec, Order, Share, load
from lpstudy.data.order import Mixture
from lpstudy.outputs import NO_LABEL, Batch

CPU = torch.device("cpu")
LABELS = {"kind": "digits", "labels_per_class": 5, "validation_fraction": 0.25, "pad": 1}


def digits(**keys: object) -> Data:
    return load(DataSpec.model_validate(LABELS | keys))


def batches(data: Data, *, epoch: int = 1, share: Share | None = None, seed: int = 0) -> list[Batch]:
    order = Order(seed, epoch, 50)
    return [*data.train.epoch(order, device=CPU, share=share or Share())]


def test_the_rest_of_the_training_part_is_shown_without_its_labels() -> None:
    few, mixed, every = digits(), digits(unlabelled="rest"), digits(labels_per_class=None)
    assert (len(few.train), len(mixed.train), len(every.train)) == (50, 899, 899)
    assert mixed.train.labelled == 50
    assert mixed.train.labels[:50].tolist() == few.train.labels.tolist()
    assert set(mixed.train.labels[50:].tolist()) == {NO_LABEL}
    images = [data.train.one_view(0, torch.arange(50), batch_size=50, device=CPU) for data in (few, mixed)]
    (one,), (other,) = map(list, images)
    scale = torch.tensor([few.std[0] / mixed.std[0]])
    shift = torch.tensor([(few.mean[0] - mixed.mean[0]) / mixed.std[0]])
    torch.testing.assert_close(one.images * scale + shift, other.images)  # other statistics, same pixels
    assert few.validation.labels.equal(mixed.validation.labels)


@pytest.mark.parametrize(("fraction", "labelled", "steps"), [(0.5, 25, 33), (0.1, 5, 18), (0.98, 49, 849)])
def test_each_batch_has_its_share_of_labelled_images(fraction: float, labelled: int, steps: int) -> None:
    data = digits(unlabelled="rest", labelled_fraction=fraction)
    assert data.train.steps(50) == steps  # 849 images without a label, 50 - labelled of them in a batch
    all_batches = batches(data)
    assert len(all_batches) == steps
    for batch in all_batches:
        assert (batch.labels != NO_LABEL).tolist() == [True] * labelled + [False] * (50 - labelled)
        assert batch.labels.equal(data.train.labels[batch.samples])
    shown = Counter(torch.cat([batch.samples[labelled:] for batch in all_batches]).tolist())
    assert set(shown.values()) == {1}
    with_labels = Counter(torch.cat([batch.samples[:labelled] for batch in all_batches]).tolist())
    assert max(with_labels.values()) - min(with_labels.values()) <= 1  # whole turns, then a part of one
    assert len(with_labels) == 50


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    data = digits(unlabelled="rest")
    first = [batch.samples.tolist() for batch in batches(data)]
    assert first == [batch.samples.tolist() for batch in batches(digits(unlabelled="rest"))]
    assert first != [batch.samples.tolist() for batch in batches(data, epoch=2)]
    assert first != [batch.samples.tolist() for batch in batches(data, seed=1)]


def test_workers_share_each_kind_of_a_batch_equally() -> None:
    data = digits(unlabelled="rest", labelled_fraction=0.4)
    whole = batches(data)
    shares = [batches(data, share=Share(rank, 2)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(batch.samples.tolist()) == sorted(s for part in parts for s in part.samples.tolist())
        assert [int((part.labels != NO_LABEL).sum()) for part in parts] == [10, 10]
    with pytest.raises(ValueError, match="cannot share the 25 labelled images of a batch equally"):
        batches(digits(unlabelled="rest"), share=Share(0, 2))


def test_back_prop_sees_the_same_labelled_images_in_as_many_steps() -> None:
    data = digits(unlabelled="rest")
    alone = data.labelled_alone()
    assert alone.train.steps(50) == data.train.steps(50)
    for mixed, labelled in zip(batches(data), batches(alone), strict=True):
        assert labelled.samples.equal(mixed.samples[:25])
        assert labelled.images.equal(mixed.images[:25])
    assert digits().labelled_alone().train.mixture is None


@pytest.mark.parametrize(
    ("samples", "labelled", "size", "part", "steps"),
    [(60, 50, 20, 10, 5), (1000, 4, 50, 4, 21), (12, 10, 50, 10, 1), (3, 2, 2, 1, 2)],
)
def test_small_sets_fill_what_they_can(samples: int, labelled: int, size: int, part: int, steps: int) -> None:
    mixture = Mixture(labelled, 0.5)
    assert (mixture.part(size), mixture.steps(samples, size)) == (part, steps)
    parts = Order(0, 1, size).batches(samples, mixture=mixture)
    assert len(parts) == steps
    assert {len(batch) for batch in parts} == {mixture.batch_length(samples, size)}


def pixels_of(data: Data) -> set[bytes]:
    shown = data.train.batches(batch_size=50, device=CPU)
    return {image.numpy().tobytes() for batch in shown for image in batch.images}


def test_a_teacher_may_have_more_labels_which_hold_those_of_the_students() -> None:
    data = digits(unlabelled="rest")
    ten, every = data.labelled(10), data.labelled(None)
    assert [len(one.train) for one in (ten, every)] == [100, 899]
    assert (ten.mean, ten.std) == (data.mean, data.std)
    pixels = [
        {
            image.numpy().tobytes()
            for batch in one.train.batches(batch_size=50, device=CPU)
            for image in batch.images
        }
        for one in (data.labelled(5), ten, every)
    ]
    assert pixels[0] < pixels[1] < pixels[2]
    assert int(every.train.labels.min()) >= 0
    assert len({one.fingerprint for one in (data, data.labelled(5), ten, every)}) == 4
    with pytest.raises(ValueError, match="labels_per_class is 500, but class '0' has"):
        data.labelled(500)


def test_a_study_without_a_wish_for_other_labels_keeps_its_data() -> None:
    data = digits()
    assert data.labelled(5) is data


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"labels_per_class": None, "unlabelled": "rest"}, "unlabelled: needs labels_per_class"),
        ({"labelled_fraction": 0.5}, "labelled_fraction: has no effect without unlabelled"),
        ({"unlabelled": "all"}, "unlabelled"),
    ],
)
def test_settings_without_effect_are_refused(keys: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        digits(**keys)


def test_each_turn_of_an_epoch_has_another_order() -> None:
    labelled = [batch.samples[:25].tolist() for batch in batches(digits(unlabelled="rest"))]
    turns = [first + second for first, second in zip(labelled[::2], labelled[1::2], strict=False)]
    assert all(sorted(turn) == [*range(50)] for turn in turns)
    assert len({tuple(turn) for turn in turns}) == len(turns) == 16
