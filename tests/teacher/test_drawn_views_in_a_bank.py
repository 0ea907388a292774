"""A bank of views that are drawn: one for each epoch as far as they fit, and the same as at each step."""

from collections.abc import Callable

import pytest
import torch
from small_banks import SmallBank

from lpstudy.data import UNLIMITED, Data, DataSpec, Order, load
from lpstudy.methods import Needs
from lpstudy.space import StudySpec
from lpstudy.teacher import open_teacher_outputs, plan_bank, teacher_key

MakeBank = Callable[..., SmallBank]
MakeStudy = Callable[..., StudySpec]
CPU = torch.device("cpu")
KEYS: list[dict[str, object]] = [
    {"crop": "resized", "flip": True, "augment": "randaugment"},
    {"pad": 1, "flip": True, "augment": "trivialaugment", "erase": 0.3},
]


def digits(**keys: object) -> Data:
    return load(DataSpec.model_validate({"kind": "digits", "labels_per_class": 10} | keys))


@pytest.mark.parametrize("keys", KEYS)
def test_the_bank_has_what_the_teacher_says_of_each_epochs_images(
    keys: dict[str, object], make_bank: MakeBank
) -> None:
    bank = make_bank({"kd": {}}, data=digits(**keys), epochs=4)
    assert bank.plan.views == 4
    bank.fill()
    outputs = open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)
    data = bank.data.with_views(bank.plan.views)
    views = set()
    for epoch in range(1, 5):
        for batch in data.train.epoch(Order(7, epoch, 50), device=CPU):
            views.add(batch.view)
            banked = outputs.outputs(batch, Needs(logits=True)).logits
            online = bank.teacher.outputs(batch, Needs(logits=True)).logits
            torch.testing.assert_close(banked, online, rtol=2**-10, atol=1e-5)
    assert views == {0, 1, 2, 3}


def test_views_without_a_bound_are_one_for_each_epoch_or_as_many_as_fit(make_study: MakeStudy) -> None:
    data = digits(crop="resized")
    assert data.augmentations == data.views == UNLIMITED
    blob = 100 * 18 * 2 / 1e9
    for keys, views, reason in (
        ({"epochs": 500}, 500, "500 views, one for each epoch of a run"),
        ({"epochs": 500, "bank_gb": 7.5 * blob}, 7, f"7 views, as many as fit in bank_gb = {7.5 * blob:g}"),
        ({"epochs": 5, "views": 9}, 9, "9 views, as [teacher] views says"),
        ({"online": True}, UNLIMITED, "[teacher] online = true"),
    ):
        plan = plan_bank(make_study(**keys), data)
        assert (plan.views, plan.reason) == (views, reason)
    assert plan.view_words == "a new view in each epoch"


def test_a_bank_knows_no_mixed_images(make_bank: MakeBank) -> None:
    bank = make_bank({"kd": {}}, views=1)
    bank.fill()
    outputs = open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)
    (batch, *_) = digits(mixup=1.0).train.epoch(Order(0, 1, 50), device=CPU)
    with pytest.raises(ValueError, match="the teacher bank has no outputs of mixed images"):
        outputs.outputs(batch, Needs(logits=True))


def test_another_augmentation_is_another_teacher(make_study: MakeStudy) -> None:
    spec = make_study().teacher
    keys = [
        *KEYS,
        {"crop": "resized"},
        {"augment": "randaugment"},
        {"erase": 0.5},
        {"mixup": 1.0},
        {},
        {"pad": 1},
    ]
    assert len({teacher_key(spec, digits(**each)) for each in keys}) == len(keys)
