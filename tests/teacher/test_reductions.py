"""A method may read less than a map of the teacher: the bank keeps that alone, and the loss sees the same."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from imports import no_imported_code
from small_banks import SmallBank
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.data import Data
from lpstudy.methods import Distillation, Loss, Needs, Step, cross_entropy, reduced, register_method
from lpstudy.methods.reductions import BUILT_IN, register_reduction
from lpstudy.space import RunSpec, StudySpec, import_files
from lpstudy.students import StudentSpec
from lpstudy.teacher import open_teacher_outputs, plan_bank
from lpstudy.training.trainer import Trainer

CPU = torch.device("cpu")
CHANNELS, SIDE, SAMPLES = 8, 4, 100
"""Of the teacher's conv2, and the training images."""
MakeStudy = Callable[..., StudySpec]
MakeBank = Callable[..., SmallBank]


def attention(maps: Tensor) -> Tensor:
    """By the paper's words: sum of squares over channels, divided by its length."""
    squares = maps.pow(2).sum(dim=1)
    return squares / squares.flatten(1).norm(dim=1)[:, None, None]


class Attention(Distillation):
    """CE + squared difference of attention maps."""

    method: Literal["attention"] = "attention"
    is_reduced: bool = True
    """Whether the bank keeps the attention map alone."""

    @override
    def teacher_needs(self) -> Needs:
        return Needs(maps=(reduced("conv2", "attention") if self.is_reduced else "conv2",))

    @override
    def student_maps(self) -> tuple[str, ...]:
        return ("conv2",)

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return {"at": 100.0}

    @override
    def loss(self, step: Step) -> Loss:
        (theirs,) = step.teacher.maps.values()
        hint = theirs if self.is_reduced else attention(theirs)
        term = functional.mse_loss(attention(step.student.maps["conv2"]), hint)
        return cross_entropy(step).plus("at", term, weight=step.weights["at"])


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with no_imported_code():
        register_method(Attention)
        yield


def run_spec(**values: object) -> RunSpec:
    return RunSpec.model_validate(
        {
            "student": StudentSpec(family="convnet", depth=2, width=2),
            "method": Attention.model_validate(values),
            "training": {"batch_size": 50, "precision": "fp32"},
            "epochs": 3,
            "seed": 0,
        }
    )


def test_the_attention_map_is_that_of_the_paper() -> None:
    maps = torch.randn(5, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(BUILT_IN["attention"](maps), attention(maps))


def test_costs_the_maps_bytes_divided_by_its_channels(make_study: MakeStudy, data: Data) -> None:
    whole = plan_bank(make_study({"attention": {"is_reduced": False}}, views=1), data)
    plan = plan_bank(make_study({"attention": {}}, views=1), data)
    assert whole.bytes == SAMPLES * CHANNELS * SIDE**2 * 2
    assert plan.bytes * CHANNELS == whole.bytes
    assert [(one.name, one.shape) for one in plan.banked_outputs] == [("map.conv2@attention", (SIDE, SIDE))]


@pytest.mark.parametrize(("dtype", "rel"), [("fp32", 1e-6), ("fp16", 1e-3)])
def test_the_loss_through_the_bank_is_that_online(dtype: str, rel: float, make_bank: MakeBank) -> None:
    bank = make_bank({"attention": {}}, views=2, bank_dtype=dtype)
    assert bank.fill() == []
    opened = open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)
    data = bank.data.with_views(2)
    banked = Trainer(run_spec(), data, opened, CPU).steps(1, 2)
    online = Trainer(run_spec(), data, bank.teacher, CPU).steps(1, 2)
    whole = Trainer(run_spec(is_reduced=False), data, bank.teacher, CPU).steps(1, 2)
    assert online["train_at"] > 0
    for name in ("train_at", "train_loss"):
        assert banked[name] == pytest.approx(online[name], rel=rel)
        assert online[name] == pytest.approx(whole[name], rel=1e-5)


def test_other_reductions_have_the_shapes_that_they_say() -> None:
    maps = torch.arange(2 * 3 * 5 * 4, dtype=torch.float32).reshape(2, 3, 5, 4)
    assert torch.equal(BUILT_IN["pool2"](maps)[0, 0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))
    assert torch.equal(BUILT_IN["channel_means"](maps)[0], torch.tensor([9.5, 29.5, 49.5]))


def test_unknown_maps_and_reductions_are_refused(make_study: MakeStudy, data: Data) -> None:
    with pytest.raises(ValueError, match="unknown reduction 'sum'; known are attention, pool2, "):
        reduced("conv2", "sum")
    with pytest.raises(ValueError, match="'attention' exists already"):
        register_reduction("attention", torch.abs)
    with pytest.raises(ValueError, match="must be letters, digits and _"):
        register_reduction("a@b", torch.abs)


def test_one_of_imported_code_has_its_hash_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom lpstudy.methods import register_reduction as add\nadd('size', torch.abs)\n"
    )
    (code,) = import_files([path])
    assert reduced("conv1", "size") == f"conv1@size-{code.sha256[:16]}"
    assert reduced("conv1", "pool2") == "conv1@pool2"
