"""The same step by torchdistill: its DistillationBox, KDLoss and optimizer; the LP term is written by hand.

Source: torchdistill 1.1.5, core.distillation; the loop is that of its image classification example.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

import torch
from plain import PILImages, PlainNet, lp_term
from torch import Tensor, nn
from torch.utils.data import Dataset, RandomSampler, SequentialSampler
from workload import BATCH, LEARNING_RATE, METHOD

Outputs = Mapping[str, Mapping[str, Tensor]]
"""Module path -> `output` -> tensor, as torchdistill's hooks collect them."""


def installed() -> bool:
    """Whether torchdistill is installed; the extra `bench` has it."""
    return find_spec("torchdistill") is not None


class LPTerm(nn.Module):
    """The hand-written LP term on the output of `hidden`."""

    def forward(self, student: Outputs, teacher: Outputs, targets: Tensor) -> Tensor:
        """1/(2m) * sum_ij a_ij |s_i - s_j|^2."""
        del targets
        return lp_term(student["hidden"]["output"], teacher["hidden"]["output"], METHOD.n_neighbors)


class ReadyBatches(Dataset[tuple[Tensor, Tensor]]):
    """Whole batches that were made before: loading them costs nothing."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A batch."""
        return self.batches[index]


class BoxLoop:
    """A distillation box and its loop."""

    def __init__(self, student: PlainNet, teacher: PlainNet, dataset: ReadyBatches | PILImages) -> None:
        from torchdistill.core.distillation import get_distillation_box

        config = _config(ready=isinstance(dataset, ReadyBatches))
        self.student = student
        self.box = get_distillation_box(
            teacher.eval(), student, {"train": dataset}, config, torch.device("cpu"), None, False, 1
        )
        self.batches = self._batches()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, dict[str, object]]]:
        epoch = 0
        while True:
            self.box.pre_epoch_process(epoch=epoch)
            yield from self.box.train_data_loader
            self.box.post_epoch_process()
            epoch += 1

    def step(self) -> None:
        """One batch."""
        images, labels, supplements = next(self.batches)
        loss = self.box.forward_process(images, labels, supplements)
        self.box.post_forward_process(loss=loss)


def _config(*, ready: bool) -> dict[str, object]:
    """The training configuration, which torchdistill otherwise reads from YAML."""
    hook = {"forward_proc": "forward_batch_only", "forward_hook": {"output": ["hidden"]}}
    kd = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
        "temperature": METHOD.kd_temperature,
        "alpha": 1.0,  # of CE, which this loss contains
        "beta": METHOD.kd_weight,  # of T^2 * KL
    }
    loading = {"batch_size": None} if ready else {"batch_size": BATCH, "drop_last": True}
    sampler = {"class_or_func": SequentialSampler if ready else RandomSampler}
    return {
        "num_epochs": 1,
        "train_data_loader": {"dataset_id": "train", "sampler": sampler, "kwargs": loading},
        "teacher": {**hook, "requires_grad": False},
        "student": {**hook, "requires_grad": True},
        "optimizer": {"key": "SGD", "kwargs": {"lr": LEARNING_RATE, "momentum": 0.9, "nesterov": True}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {"criterion": {"key": "KDLoss", "kwargs": kd}, "weight": 1.0},
                    "lp": {"criterion": LPTerm(), "weight": METHOD.gamma},
                }
            },
        },
    }
