"""Which of the teacher's outputs are computed once and kept, for how many views, and which at each step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from lpstudy.data import Data
from lpstudy.distill import Needs
from lpstudy.distill.method import EMBEDDING
from lpstudy.outputs import Network, Outputs
from lpstudy.space import Arm, StudySpec, TeacherSpec
from lpstudy.space.ranges import corners
from lpstudy.teacher.teacher_input import input_of, teacher_skeleton

LOGITS = "logits"
MAP = "map."
"""What the name of a kept map begins with."""
GB = 1e9
NEARLY_DONE = 1 - 2**-20
"""Share of a training, short of its end, at which a weight that falls to 0 is none yet."""
BYTES = {"fp16": 2, "fp32": 4}


@dataclass(frozen=True, slots=True)
class BankedOutput:
    """An output of the teacher that the bank holds."""

    name: str
    """`logits`, `embedding`, or `map.` and the map's name."""
    shape: tuple[int, ...]
    """Of one sample's."""


@dataclass(frozen=True, slots=True)
class BankPlan:
    """What a study's teacher bank holds."""

    views: int
    """How many views of each training image the students see."""
    augmentations: int
    """How many there are."""
    samples: int
    dtype: str
    """`fp16` or `fp32`."""
    banked_outputs: tuple[BankedOutput, ...]
    online: tuple[str, ...]
    """Names of the outputs that are computed at each step."""
    reason: str
    """Why so, in one line."""

    @property
    def bytes_per_view(self) -> int:
        """Of all that is kept, for one view of every training image."""
        return self.samples * sum(_bytes(kept.shape, self.dtype) for kept in self.banked_outputs)

    @property
    def bytes(self) -> int:
        """Of all that is kept."""
        return self.views * self.bytes_per_view


def teacher_needs(spec: StudySpec, teacher: Network) -> Needs:
    """What any run of a study reads of its teacher.

    Raises:
        ValueError: The teacher has no layer of a name that a method gives.
    """
    logits = embedding = False
    maps: frozenset[str] = frozenset()
    for arm in spec.arms():
        for values in corners(arm.hyperparameters):
            sizes = next(corners(arm.student.searched))
            needs = arm.resolve(sizes | values, epochs=1, seed=0).method.teacher_needs(teacher)
            logits, embedding, maps = logits or needs.logits, embedding or needs.embedding, maps | needs.maps
    return Needs(logits, embedding, maps)


def learns_from_logits(arm: Arm, teacher: Network) -> bool:
    """Whether an arm's loss has a term of the teacher's logits whose weight is not always 0."""
    for values in corners(arm.hyperparameters):
        sizes = next(corners(arm.student.searched))
        method = arm.resolve(sizes | values, epochs=1, seed=0).method
        factors = [method.weights(progress).get("kd", 0.0) for progress in (0.0, NEARLY_DONE)]
        if method.teacher_needs(teacher).logits and any(factors):
            return True
    return False


def plan_bank(spec: StudySpec, data: Data) -> BankPlan:
    """Decide what is kept.

    Logits and embedding come first, then maps from the smallest on, as long as they fit for all views.

    Raises:
        ValueError: `views` is more than there are, or than fits; says what would.
    """
    teacher = spec.teacher
    network = teacher_skeleton(teacher, input_of(teacher, data), data)
    needs = teacher_needs(spec, network)
    outputs = sorted(_outputs(network, data, needs), key=lambda kept: (_is_map(kept), math.prod(kept.shape)))
    most, samples = data.augmentations, len(data.train)

    def planned(views: int, kept: list[BankedOutput], reason: str) -> BankPlan:
        online = tuple(output.name for output in outputs if output not in kept)
        return BankPlan(views, most, samples, teacher.bank_dtype, tuple(kept), online, reason)

    if teacher.views is not None and teacher.views > most:
        raise ValueError(
            f"[teacher] views is {teacher.views}, but pad and flip give {most} views of an image"
        )
    if teacher.online or not outputs:
        reason = "[teacher] online = true" if outputs else "no method reads the teacher"
        return planned(teacher.views or most, [], reason)
    room = int(teacher.bank_gb * GB)
    views = teacher.views or min(most, spec.budget.epochs)
    small = [output for output in outputs if not _is_map(output)] or outputs[:1]
    of_small = samples * sum(_bytes(output.shape, teacher.bank_dtype) for output in small)
    fit = room // of_small
    if teacher.views is not None and teacher.views > fit:
        names = " and ".join(output.name for output in small)
        raise ValueError(
            f"[teacher] views = {teacher.views}: {names} of so many views take"
            f" {teacher.views * of_small / GB:.2g} GB, bank_gb = {teacher.bank_gb:g} has room for {fit}"
            " views; lower views, raise bank_gb, or set online = true"
        )
    if fit < 1:
        reason = f"one view takes {of_small / GB:.2g} GB, more than bank_gb = {teacher.bank_gb:g}"
        return planned(most, [], reason)
    views = min(views, fit)
    kept: list[BankedOutput] = []
    for output in outputs:
        if planned(views, [*kept, output], "").bytes <= room:
            kept.append(output)
    return planned(
        views, kept, _reason(teacher, views, most, spec.budget.epochs, [o for o in outputs if o not in kept])
    )


def _reason(teacher: TeacherSpec, views: int, most: int, epochs: int, left: list[BankedOutput]) -> str:
    if teacher.views is not None:
        reason = f"{views} of {most} views, as [teacher] views asks"
    elif views == most:
        reason = f"all {most} views"
    elif views < epochs:
        reason = f"{views} of {most} views, as many as fit in bank_gb = {teacher.bank_gb:g}"
    else:
        reason = f"{views} of {most} views, one for each epoch of a run"
    if left:
        names = ", ".join(output.name for output in left)
        reason += f"; {names} of so many views would not fit in bank_gb = {teacher.bank_gb:g}"
    return reason


@torch.no_grad()
def _outputs(network: Network, data: Data, needs: Needs) -> Iterator[BankedOutput]:
    found: Outputs = network(torch.empty(1, *data.input_shape, device="meta"), needs.maps)
    if needs.logits:
        yield BankedOutput(LOGITS, tuple(found.logits.shape[1:]))
    if needs.embedding:
        yield BankedOutput(EMBEDDING, tuple(found.embedding.shape[1:]))
    for name in sorted(needs.maps):
        yield BankedOutput(MAP + name, tuple(found.maps[name].shape[1:]))


def _is_map(kept: BankedOutput) -> bool:
    return kept.name.startswith(MAP)


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * BYTES[dtype]
