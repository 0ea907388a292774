"""The plan of a teacher bank: which outputs it holds, for how many views, and which are computed online."""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import torch

from lpstudy.data import UNLIMITED, Data
from lpstudy.methods import Needs, reductions
from lpstudy.methods.method import EMBEDDING, Distillation
from lpstudy.outputs import Network
from lpstudy.space import Arm, StudySpec, TeacherSpec
from lpstudy.space.ranges import corners
from lpstudy.students import skeleton
from lpstudy.teacher.teacher_input import input_of, teacher_skeleton

LOGITS = "logits"
MAP = "map."
"""Prefix of the names of maps."""
GB = 1e9
NEARLY_DONE = 1 - 2**-20
"""A share of the training just before its end, where a weight that falls to 0 is still above it."""
BYTES = {"fp16": 2, "fp32": 4}


@dataclass(frozen=True, slots=True)
class BankedOutput:
    """An output of the teacher in the bank."""

    name: str
    """`logits`, `embedding`, or `map.` and the map's name."""
    shape: tuple[int, ...]
    """Shape of one sample's output."""


@dataclass(frozen=True, slots=True)
class BegunOutputs:
    """What a begun study has decided on its teacher's outputs; its later arms do not change it."""

    views: int
    """The number of views that the students see."""
    banked: frozenset[str]
    """The names of the outputs that the bank holds."""
    online: frozenset[str]
    """The names of the outputs that are computed at each step."""


@dataclass(frozen=True, slots=True)
class BankPlan:
    """The content of a study's teacher bank."""

    views: int
    """The number of views of each training image in use."""
    augmentations: int
    """The number of distinct views; `lpstudy.data.UNLIMITED` where they are drawn."""
    samples: int
    dtype: str
    """`fp16` or `fp32`."""
    banked_outputs: tuple[BankedOutput, ...]
    online: tuple[str, ...]
    """Names of the outputs that are computed at each step."""
    reason: str
    """The reason for the number of views, in one line."""
    classifier: bool = False
    """Whether a method reads the teacher's classifier."""

    def decisions(self, earlier_outputs: "BegunOutputs | None") -> "BegunOutputs":
        """The decisions on the teacher's outputs, those of a begun study included."""
        banked, online = {output.name for output in self.banked_outputs}, {*self.online}
        if earlier_outputs is not None:
            banked, online = banked | earlier_outputs.banked, online | earlier_outputs.online
        return BegunOutputs(self.views, frozenset(banked), frozenset(online))

    @property
    def view_words(self) -> str:
        """The number of views in use, and of how many, in words."""
        return _view_words(self.views, self.augmentations)

    @property
    def bytes_per_view(self) -> int:
        """Bytes of all banked outputs for one view of every training image."""
        return self.samples * sum(_bytes(output.shape, self.dtype) for output in self.banked_outputs)

    @property
    def bytes(self) -> int:
        """Bytes of all banked outputs."""
        return self.views * self.bytes_per_view


def resolved_methods(arm: Arm, data: Data, teacher: Network) -> Iterator[Distillation]:
    """The method of an arm at each corner of its search space, for its smallest student.

    Raises:
        ValueError: A network has no layer of the name in a method's hyperparameters.
    """
    sizes = next(corners(arm.student.searched))
    student = skeleton(arm.student_spec(sizes), input_shape=data.input_shape, classes=data.classes)
    for values in corners(arm.hyperparameters):
        yield arm.resolve(sizes | values, epochs=1, seed=0).method.resolved(student, teacher)


def teacher_needs(spec: StudySpec, data: Data, teacher: Network) -> Needs:
    """The outputs that at least one run of a study reads of its teacher; raises as `resolved_methods`."""
    logits = embedding = classifier = False
    maps: tuple[str, ...] = ()
    for arm in spec.arms():
        for method in resolved_methods(arm, data, teacher):
            needs = method.teacher_needs()
            logits, embedding = logits or needs.logits, embedding or needs.embedding
            classifier = classifier or needs.classifier
            maps += needs.maps
    return Needs(logits, embedding, maps, classifier)


def learns_from_logits(arm: Arm, data: Data, teacher: Network) -> bool:
    """Whether an arm's loss has a term of the teacher's logits with a weight that is not always 0.

    The teacher's classifier counts as well: what it makes of features are logits.
    """
    for method in resolved_methods(arm, data, teacher):
        needs = method.teacher_needs()
        for progress in (0.0, NEARLY_DONE):
            weights = {name: weight for name, weight in method.weights(progress).items() if weight}
            if needs.classifier or (weights and method.needs_of(needs, weights).logits):
                return True
    return False


def plan_bank(spec: StudySpec, data: Data, earlier_outputs: BegunOutputs | None = None) -> BankPlan:
    """Plan the bank of a study.

    Logits and embedding come first, then maps from the smallest on, as long as they fit for all views.

    Args:
        spec: The study.
        data: Its data.
        earlier_outputs: What a begun study has decided; outputs that its new arms read are in the bank where
            all of its views fit beside the others.

    Raises:
        ValueError: `views` is more than there are or than fit; the message says how many would fit.
    """
    teacher = spec.teacher
    network = teacher_skeleton(teacher, input_of(teacher, data), data)
    needs = teacher_needs(spec, data, network)
    outputs = _sorted(_outputs(network, data, needs))
    distinct, samples = data.augmentations, len(data.train)

    def make_plan(views: int, banked_outputs: list[BankedOutput], reason: str) -> BankPlan:
        online = tuple(output.name for output in outputs if output not in banked_outputs)
        banked, dtype = tuple(banked_outputs), teacher.bank_dtype
        return BankPlan(views, distinct, samples, dtype, banked, online, reason, needs.classifier)

    if teacher.views is not None and teacher.views > distinct:
        raise ValueError(
            f"[teacher] views is {teacher.views}, but pad and flip give {distinct} views of an image"
        )
    if teacher.online or not outputs:
        reason = "[teacher] online = true" if outputs else "no method reads the teacher"
        return make_plan(earlier_outputs.views if earlier_outputs else teacher.views or distinct, [], reason)
    room = int(teacher.bank_gb * GB)
    if earlier_outputs is None:
        earlier_outputs = BegunOutputs(_views_in(room, spec, data, outputs), frozenset(), frozenset())
        if earlier_outputs.views == 0:
            reason = f"one view takes {_view_bytes(outputs, spec, data) / GB:.2g} GB, more than bank_gb ="
            return make_plan(distinct, [], f"{reason} {teacher.bank_gb:g}")
    held = [
        one
        for one in _outputs(network, data, _needs_of(earlier_outputs.banked))
        if one.name in earlier_outputs.banked
    ]
    for output in outputs:
        is_new = output.name not in earlier_outputs.banked | earlier_outputs.online
        if is_new and make_plan(earlier_outputs.views, [*held, output], "").bytes <= room:
            held.append(output)
    online_outputs = [output for output in outputs if output not in held]
    reason = _reason(teacher, earlier_outputs.views, distinct, spec.budget.epochs, online_outputs)
    return make_plan(earlier_outputs.views, [output for output in outputs if output in held], reason)


def _views_in(room: int, spec: StudySpec, data: Data, outputs: list[BankedOutput]) -> int:
    """How many views a study that starts has; 0 where not one fits. Raises as `plan_bank`."""
    teacher, view_bytes = spec.teacher, _view_bytes(outputs, spec, data)
    fit = room // view_bytes
    if teacher.views is not None and teacher.views > fit:
        names = " and ".join(output.name for output in _small(outputs))
        raise ValueError(
            f"[teacher] views = {teacher.views}: {names} of so many views take"
            f" {teacher.views * view_bytes / GB:.2g} GB, bank_gb = {teacher.bank_gb:g} has room for {fit}"
            " views; lower views, raise bank_gb, or set online = true"
        )
    return min(teacher.views or min(data.augmentations, spec.budget.epochs), fit)


def _view_bytes(outputs: list[BankedOutput], spec: StudySpec, data: Data) -> int:
    """Bytes of the outputs that come first, of one view of every training image."""
    return len(data.train) * sum(_bytes(one.shape, spec.teacher.bank_dtype) for one in _small(outputs))


def _small(outputs: list[BankedOutput]) -> list[BankedOutput]:
    """The outputs that come first: logits and embedding, or the smallest map."""
    return [output for output in outputs if not _is_map(output)] or outputs[:1]


def _sorted(outputs: Iterable[BankedOutput]) -> list[BankedOutput]:
    return sorted(outputs, key=lambda output: (_is_map(output), math.prod(output.shape)))


def _needs_of(names: Collection[str]) -> Needs:
    """The needs of outputs by their names."""
    maps = tuple(sorted(name.removeprefix(MAP) for name in names if name.startswith(MAP)))
    return Needs(logits=LOGITS in names, embedding=EMBEDDING in names, maps=maps)


def _reason(
    teacher: TeacherSpec, views: int, distinct: int, epochs: int, online_outputs: list[BankedOutput]
) -> str:
    words = _view_words(views, distinct)
    if teacher.views is not None:
        reason = f"{words}, as [teacher] views says"
    elif views == distinct:
        reason = words if distinct == UNLIMITED else f"all {distinct} views"
    elif views < epochs:
        reason = f"{words}, as many as fit in bank_gb = {teacher.bank_gb:g}"
    else:
        reason = f"{words}, one for each epoch of a run"
    if online_outputs:
        names = ", ".join(output.name for output in online_outputs)
        reason += f"; {names} of so many views would not fit in bank_gb = {teacher.bank_gb:g}"
    return reason


def _view_words(views: int, distinct: int) -> str:
    if views == UNLIMITED:
        return "a new view in each epoch"
    return f"{views} views" if distinct == UNLIMITED else f"{views} of {distinct} views"


@torch.no_grad()
def _outputs(network: Network, data: Data, needs: Needs) -> Iterator[BankedOutput]:
    image = torch.empty(1, *data.input_shape, device="meta")
    outputs = reductions.teacher_outputs(network, image, needs.maps)
    if needs.logits:
        yield BankedOutput(LOGITS, tuple(outputs.logits.shape[1:]))
    if needs.embedding:
        yield BankedOutput(EMBEDDING, tuple(outputs.embedding.shape[1:]))
    for name in sorted(needs.maps):
        yield BankedOutput(MAP + name, tuple(outputs.maps[name].shape[1:]))


def _is_map(output: BankedOutput) -> bool:
    return output.name.startswith(MAP)


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * BYTES[dtype]
