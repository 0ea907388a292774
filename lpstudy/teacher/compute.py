"""Computation of the bank's blocks, and access to a bank for training."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from lpstudy.cache import shared_cache
from lpstudy.data import Data
from lpstudy.folder import LocalFolder, folder_at
from lpstudy.methods import Needs
from lpstudy.methods.method import EMBEDDING
from lpstudy.model_file import WEIGHTS
from lpstudy.outputs import Classifier, Outputs
from lpstudy.space import TeacherSpec
from lpstudy.spending import BANK, PhaseSpending
from lpstudy.students import code_of, fit_weights, read_weights_file, skeleton
from lpstudy.students.layers import classifier_layer
from lpstudy.teacher.bank import Bank
from lpstudy.teacher.bank_plan import LOGITS, MAP, BankPlan
from lpstudy.teacher.fit import TrainedTeacher, open_teacher
from lpstudy.teacher.logits_file import logits_reader
from lpstudy.teacher.online import OnlineTeacher
from lpstudy.teacher.remote_store import RemoteStore
from lpstudy.teacher.store import Block, Store, to_bank_dtype
from lpstudy.teacher.teacher_input import input_shape_of, teacher_skeleton
from lpstudy.training import TeacherOutputs
from lpstudy.training.evaluation import BATCH, large_batch_rounding
from lpstudy.training.meter import Meter
from lpstudy.training.precision import uses_bf16


@dataclass(frozen=True, slots=True)
class ComputedBlock:
    """A block on disk that the bank does not list yet."""

    block: Block
    digests: dict[str, str]
    spending: PhaseSpending = field(default_factory=lambda: PhaseSpending(BANK))
    """What it took."""


def bank_store(
    plan: BankPlan, file: TrainedTeacher, spec: TeacherSpec, data: Data, device: torch.device
) -> Store:
    """The files of a study's bank, with outputs in the number format of a device of this kind."""
    store_class = Store if isinstance(shared_cache(), LocalFolder) else RemoteStore
    code = code_of(spec.family, spec.design)
    return store_class(plan, file, data, bf16=uses_bf16(spec.precision, device), code=code)


def compute_blocks(
    store: Store, data: Data, teacher: OnlineTeacher, blocks: Iterable[Block], *, chunk_size: int = BATCH
) -> Iterator[ComputedBlock]:
    """Compute and write blocks one by one, with at most `chunk_size` images in one forward pass.

    Raises:
        ValueError: An output is beyond the bank's number format.
        OSError: The disk is full.
    """
    plan = store.plan
    names = [output.name for output in plan.banked_outputs]
    needs = Needs(
        logits=LOGITS in names,
        embedding=EMBEDDING in names,
        maps=tuple(name.removeprefix(MAP) for name in names if name.startswith(MAP)),
    )
    device = next(teacher.network.parameters()).device

    def pieces(block: Block) -> Iterator[dict[str, npt.NDArray[np.floating]]]:
        samples = torch.arange(block.first, block.last)
        for batch in data.train.one_view(
            block.view, samples, batch_size=BATCH, device=device, chunk_size=chunk_size
        ):
            with large_batch_rounding(len(batch.labels)):
                outputs = teacher.outputs(batch, needs)
            yield {name: to_bank_dtype(_output(outputs, name), plan.dtype) for name in names}

    for block in blocks:
        yield ComputedBlock(block, store.write(block, pieces(block)))


def metered(
    blocks: Iterator[ComputedBlock], teacher: OnlineTeacher, *, gpus: float
) -> Iterator[ComputedBlock]:
    """Computed blocks, each with what this process spent on it.

    Args:
        blocks: Computes a block when it is asked for one.
        teacher: The teacher that computes them.
        gpus: The share of a GPU that this process has.
    """
    device = next(teacher.network.parameters()).device
    while True:
        meter = Meter(device, gpus=gpus)
        if (computed := next(blocks, None)) is None:
            return
        images = computed.block.last - computed.block.first
        macs = float(images * teacher.macs(Needs(logits=True), 1))
        yield replace(computed, spending=PhaseSpending(BANK, macs=macs, figures=meter.figures()))


def open_teacher_outputs(
    plan: BankPlan, file: TrainedTeacher, spec: TeacherSpec, data: Data, *, device: torch.device
) -> TeacherOutputs:
    """Open the source of a study's teacher outputs: its bank, its teacher, or both.

    Raises:
        ValueError: The bank is incomplete, or the weights differ from the recorded ones.
    """
    online = None
    if plan.online or not plan.banked_outputs:
        online = open_teacher(file, spec, data, device=device)
        online.read_test_logits = logits_reader(file.folder, file.test_logits)
    if online is not None and not plan.banked_outputs:
        return online
    banked_outputs = bank_store(plan, file, spec, data, device).open_outputs()
    bank = Bank(banked_outputs, teacher_skeleton(spec, file.input, data), file.macs, online, device)
    bank.read_test_logits = logits_reader(file.folder, file.test_logits)
    if plan.classifier and bank.classifier is None:
        bank.classifier = _read_classifier(file, spec, data, device)
    return bank


def _read_classifier(file: TrainedTeacher, spec: TeacherSpec, data: Data, device: torch.device) -> Classifier:
    """The classifier of a teacher whose network does not run, from its weights file.

    Raises:
        ValueError: The weights differ from the recorded ones.
    """
    shape = input_shape_of(file.input, data)
    network = skeleton(spec.network, input_shape=shape, classes=data.classes)
    weights = read_weights_file(folder_at(file.folder), WEIGHTS, sha256=file.sha256)
    state, _ = fit_weights(network, weights)
    name, layer = classifier_layer(network, shape)
    bias = None if layer.bias is None else state[f"{name}.bias"].float().to(device)
    return Classifier(state[f"{name}.weight"].float().to(device), bias)


def _output(outputs: Outputs, name: str) -> torch.Tensor:
    match name:
        case "logits":
            return outputs.logits
        case "embedding":
            return outputs.embedding
    return outputs.maps[name.removeprefix(MAP)]
