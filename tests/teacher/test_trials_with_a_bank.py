"""A trial with the bank is the trial with the teacher run at each step."""

from collections.abc import Callable

import pytest
import torch
from heads import student_for
from small_banks import SmallBank

from lpstudy.cost import cost_of
from lpstudy.methods import METHODS, Needs
from lpstudy.space import RunSpec
from lpstudy.students import StudentSpec
from lpstudy.teacher import Bank, open_teacher_outputs
from lpstudy.training import TeacherOutputs, train
from lpstudy.training.trainer import Trainer

MakeBank = Callable[..., SmallBank]

CPU = torch.device("cpu")
CASES: dict[str, dict[str, object]] = {method: {} for method in METHODS} | {
    "joint": {"method": "fitnet", "mode": "joint"},
    "lp_kd": {"method": "lp", "kd_weight": 1.0},
    "lp_map": {"method": "lp", "layer": "conv2", "teacher_layer": "conv2"},
}
TEACHER = StudentSpec(family="convnet", depth=2, width=4)
STEPS = 5
VIEWS = 3
LP_AND_HINT: dict[str, dict[str, object]] = {"lp": {}, "fitnet": {}}


def case(name: str) -> tuple[str, dict[str, object]]:
    """A method and its hyperparameters."""
    values = dict(CASES[name])
    return str(values.pop("method", name)), values


def trial_of(name: str, *, epochs: int = 4) -> RunSpec:
    method, values = case(name)
    return RunSpec.model_validate(
        {
            "student": student_for(method, {"family": "convnet", "depth": 2, "width": 4}, TEACHER),
            "method": {"method": method, **values},
            "training": {"batch_size": 10, "precision": "fp32"},
            "epochs": epochs,
            "seed": 2,
        }
    )


def study_of(name: str) -> dict[str, dict[str, object]]:
    method, values = case(name)
    return {method: values, "kd": {}}


def opened(bank: SmallBank) -> TeacherOutputs:
    bank.fill()
    return open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "rel"), [("fp32", 1e-6), ("fp16", 1e-3)])
def test_the_first_steps_have_the_losses_of_those_with_the_teacher(
    name: str, dtype: str, rel: float, make_bank: MakeBank
) -> None:
    bank = make_bank(study_of(name), views=VIEWS, bank_dtype=dtype)
    teacher_outputs = opened(bank)
    assert isinstance(teacher_outputs, Bank)
    data = bank.data.with_views(VIEWS)
    for steps in (1, STEPS):
        for epoch in (1, 3):  # fitnet's hint stage, and what follows
            banked_metrics = Trainer(trial_of(name), data, teacher_outputs, CPU).steps(epoch, steps)
            online = Trainer(trial_of(name), data, bank.teacher, CPU).steps(epoch, steps)
            assert banked_metrics["train_loss"] == pytest.approx(online["train_loss"], rel=rel)
            # Of ten samples one may get another neighbour by rounding: the terms alone are less close.
            terms = {key: value for key, value in online.items() if key.startswith("train_")}
            assert {key: banked_metrics[key] for key in terms} == pytest.approx(terms, rel=10 * rel)


@pytest.mark.parametrize("name", ["fitnet", "joint", "lp_kd"])
def test_a_map_outside_the_bank_changes_nothing(name: str, make_bank: MakeBank) -> None:
    room = VIEWS * 100 * (18 + 128) * 4 / 1e9
    bank = make_bank(study_of(name) | LP_AND_HINT, views=VIEWS, bank_dtype="fp32", bank_gb=room)
    assert bank.plan.online == ("map.conv1",)
    data, teacher_outputs = bank.data.with_views(VIEWS), opened(bank)
    banked_metrics = Trainer(trial_of(name), data, teacher_outputs, CPU).steps(1, STEPS)
    online = Trainer(trial_of(name), data, bank.teacher, CPU).steps(1, STEPS)
    assert banked_metrics["train_loss"] == pytest.approx(online["train_loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "has_bank", "paid_views"),
    [
        ("bp", True, [0, 0, 0, 0, 0]),
        ("kd", True, [1, 2, 3, 3, 3]),  # of three views: each once
        ("fitnet", True, [1, 2, 3, 3, 3]),
        ("kd", False, [1, 2, 3, 4, 5]),
        ("joint", False, [1, 2, 3, 4, 5]),
    ],
)
def test_each_view_is_paid_once(
    name: str, has_bank: bool, paid_views: list[int], make_bank: MakeBank
) -> None:
    room = VIEWS * 100 * (18 + 128) * 2 / 1e9
    bank = make_bank(study_of(name) | LP_AND_HINT, views=VIEWS, **({} if has_bank else {"bank_gb": room}))
    teacher_outputs = opened(bank) if has_bank or name == "joint" else bank.teacher
    network = bank.spec.teacher.network
    macs = cost_of(network, input_shape=bank.data.input_shape, classes=bank.data.classes).macs
    results = list(train(trial_of(name, epochs=5), bank.data.with_views(VIEWS), teacher_outputs, device=CPU))
    assert [result.metrics["teacher_macs"] for result in results] == [100 * macs * n for n in paid_views]
    alone = list(train(trial_of(name, epochs=5), bank.data.with_views(VIEWS), bank.teacher, device=CPU))
    for with_bank, online in zip(results, alone, strict=True):
        rest = [r.metrics["training_macs"] - r.metrics["teacher_macs"] for r in (with_bank, online)]
        assert rest[0] == rest[1]


@pytest.mark.parametrize(
    ("name", "dtype", "stored"),
    [
        ("bp", "fp16", 0),
        ("kd", "fp16", 2 * 10),
        ("kd", "fp32", 4 * 10),
        ("srrl", "fp16", 2 * (10 + 8)),
        ("fitnet", "fp16", 2 * (10 + 4 * 8 * 8)),
        ("simkd", "fp16", 2 * 8 * 4 * 4),
    ],
)
def test_the_bytes_of_an_image_and_view_are_those_of_what_a_method_reads(
    name: str, dtype: str, stored: int, make_bank: MakeBank
) -> None:
    bank = make_bank(study_of(name), views=1, bank_dtype=dtype)
    run = Trainer(trial_of(name), bank.data.with_views(1), opened(bank), CPU)
    assert run.epoch(1, (), read_test=False).metrics["teacher_bytes"] == stored


def test_a_map_that_is_computed_at_each_step_has_no_bytes(make_bank: MakeBank) -> None:
    room = VIEWS * 100 * (18 + 128) * 4 / 1e9
    bank = make_bank(study_of("joint") | LP_AND_HINT, views=VIEWS, bank_dtype="fp32", bank_gb=room)
    needs = Needs(logits=True, maps=("conv1",))
    assert opened(bank).stored_bytes(needs) == 4 * 10
    assert bank.teacher.stored_bytes(needs) == 0


def test_nothing_of_the_teacher_is_loaded_where_all_is_banked(make_bank: MakeBank) -> None:
    bank = make_bank(views=1)
    teacher_outputs = opened(bank)
    assert {parameter.device.type for parameter in teacher_outputs.network.parameters()} == {"meta"}
    assert teacher_outputs.network.map_names == bank.teacher.network.map_names


def test_the_classifier_is_read_from_the_weights_where_a_method_needs_it(make_bank: MakeBank) -> None:
    bank = make_bank({"srrl": {}}, views=1)
    teacher_outputs, online = opened(bank), bank.teacher.classifier
    assert {parameter.device.type for parameter in teacher_outputs.network.parameters()} == {"meta"}
    assert teacher_outputs.classifier is not None
    assert online is not None
    assert online.bias is not None
    assert torch.equal(teacher_outputs.classifier.weight, online.weight)
    assert torch.equal(teacher_outputs.classifier.bias, online.bias)
    (batch,) = bank.data.train.one_view(0, torch.arange(4), batch_size=4, device=CPU)
    outputs = teacher_outputs.outputs(batch, Needs(logits=True, embedding=True))
    torch.testing.assert_close(
        teacher_outputs.classifier(outputs.embedding), outputs.logits, rtol=0, atol=2e-3
    )
    assert opened(make_bank({"kd": {}}, views=1)).classifier is None


def test_an_output_that_is_neither_banked_nor_computed_is_refused(make_bank: MakeBank) -> None:
    bank = make_bank({"kd": {}}, views=1)
    (batch,) = bank.data.train.one_view(0, torch.arange(4), batch_size=4, device=CPU)
    with pytest.raises(ValueError, match="the teacher bank holds logits only"):
        opened(bank).outputs(batch, Needs(embedding=True))


def test_what_is_not_needed_has_no_columns_and_nothing_a_gradient(make_bank: MakeBank) -> None:
    bank = make_bank(views=2)
    (batch,) = bank.data.train.one_view(1, torch.tensor([7, 3]), batch_size=2, device=CPU)
    outputs = opened(bank).outputs(batch, Needs(embedding=True))
    assert (outputs.logits.shape, outputs.embedding.shape, outputs.maps) == ((2, 0), (2, 8), {})
    assert outputs.embedding.dtype == torch.float32
    assert not outputs.embedding.requires_grad
    exact = bank.teacher.outputs(batch, Needs(embedding=True)).embedding
    torch.testing.assert_close(outputs.embedding, exact, rtol=1e-3, atol=1e-6)
