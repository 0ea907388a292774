"""`lpstudy.methods`: one distillation run of one's own networks and images, without a study."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import nn

from lpstudy.api.image_parts import Images, ImageSettings, as_device, data_of
from lpstudy.command.method_checks import check_method
from lpstudy.cost import cost
from lpstudy.data import Data
from lpstudy.data.progress_line import with_progress
from lpstudy.methods import Distillation
from lpstudy.model_file import TrainedModel
from lpstudy.outputs import EpochResult, Network
from lpstudy.space import RunSpec, Training
from lpstudy.students import StudentSpec
from lpstudy.students.families import FAMILIES
from lpstudy.students.module_net import ModuleNet, as_network
from lpstudy.teacher import OnlineTeacher, TeacherInput
from lpstudy.teacher.teacher_input import adapt_network
from lpstudy.training.precision import uses_bf16
from lpstudy.training.trainer import Trainer

_NUMBERS = count()
"""Numbers of the students that this process has trained, so that each has a family of its own."""


def distill(  # noqa: PLR0913  # keyword-only options
    student: nn.Module,
    teacher: nn.Module | None,
    train: Images,
    validation: Images,
    *,
    method: Distillation,
    epochs: int,
    training: Training | None = None,
    test: Images | None = None,
    class_names: tuple[str, ...] | None = None,
    augmentation: Mapping[str, Any] | None = None,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Iterator[EpochResult]:
    """Train a student by a method, and yield the result of each epoch.

        for result in lpstudy.distill(student, teacher, train, validation, method=lpstudy.LP(), epochs=30):
            history.append(result.metrics["validation_accuracy"])

    The student has its new weights whenever a result is yielded. Its logits, and the teacher's, must be the
    output of a last linear layer, unless they are a `Network`. The teacher runs at each step and does not
    change. Nothing is written to disk.

    Args:
        student: Takes normalised images, shape (m, channels, height, width); starts from its own weights.
        teacher: Takes the same images; one of `lpstudy.load_model` gets its own normalisation and size. None
            for back-prop.
        train: Images and labels: uint8, shape (n, channels, height, width), and integers, shape (n,); or a
            map-style dataset of torch.
        validation: Likewise.
        method: A method with its hyperparameters, such as `lpstudy.KD(weight=9.0)`.
        epochs: The number of epochs.
        training: Batch size, optimizer, rate and so on; None: their defaults.
        test: Likewise, read once after the last epoch, whose result has `test_accuracy`; None: none.
        class_names: Names of the classes; None: those of the dataset, or numbers.
        augmentation: Keys of [data] in a study file, such as {"pad": 4, "flip": True}; None: none.
        statistics: Mean and standard deviation per channel of pixels in 0..1, by which images are
            normalised; None: those of the training images.
        seed: Order of batches, views and dropout.
        device: Where it trains; None: on a GPU if there is one.
        progress: Show a progress bar.

    Raises:
        ValueError: One line: images, networks and method do not fit.
        DivergedError: The loss is not finite.
    """
    place = as_device(device)
    data = data_of(
        {"train": train, "validation": validation, "test": test},
        ImageSettings(augmentation or {}, statistics, class_names),
    )
    settings = training or Training()
    settings.check(epochs)
    method.check(batch_size=settings.batch_size)
    if teacher is None and method.reads_teacher:
        raise ValueError(f"method {method.method} learns from a teacher: give one, or method=lpstudy.BP()")
    if method.reuses_classifier:
        raise ValueError(f"the student of {method.method} gets the teacher's classifier: run it in a study")
    own = student.network if isinstance(student, TrainedModel) else student
    network = as_network(own, input_shape=data.input_shape, classes=data.classes)
    source = None if teacher is None else _online(teacher, data, settings, place)
    if source is not None:
        check_method(method, _on_meta(network), _on_meta(source.network), data, samples=settings.batch_size)

    def results() -> Iterator[EpochResult]:
        with _family(own, data) as family:
            spec = RunSpec(
                student=StudentSpec(family=family), method=method, training=settings, epochs=epochs, seed=seed
            )
            trainer = Trainer(spec, data.to(place), source, place)
            for epoch in range(1, epochs + 1):
                result = trainer.epoch(epoch, (), read_test=test is not None)
                with trainer.learner.evaluated(epoch * trainer.steps_per_epoch):
                    _copy_weights(trainer.learner.student, own)
                yield result

    return iter(with_progress(results(), "epochs", total=epochs, progress=progress))


def _online(teacher: nn.Module, data: Data, training: Training, device: torch.device) -> OnlineTeacher:
    """The teacher's outputs by a forward pass at each step of a copy of it."""
    network = _teacher_network(teacher, data)
    macs = cost(network, data.input_shape).macs
    return OnlineTeacher(network, macs, device=device, bf16=uses_bf16(training.precision, device))


def _teacher_network(teacher: nn.Module, data: Data) -> Network:
    if not isinstance(teacher, TrainedModel):
        return as_network(copy.deepcopy(teacher), input_shape=data.input_shape, classes=data.classes)
    description = teacher.description
    channels, height, width = description.input_shape
    if channels != data.input_shape[0] or len(description.class_names) != data.classes:
        raise ValueError(
            f"the teacher takes images of {channels} channels in {len(description.class_names)} classes, but"
            f" the images have {data.input_shape[0]} channels and {data.classes} classes"
        )
    size = TeacherInput(
        description.mean, description.std, height, width, description.interpolation or "bilinear"
    )
    return adapt_network(copy.deepcopy(teacher.network), size, data)


def _on_meta(network: Network) -> Network:
    """A copy without weights."""
    return copy.deepcopy(network).to("meta")


@contextmanager
def _family(student: nn.Module, data: Data) -> Iterator[str]:
    """A family of networks within the context, whose one network is a copy of the student."""

    def build(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> Network:
        del spec
        module = copy.deepcopy(student).train()
        module = module.to("meta") if torch.get_default_device().type == "meta" else module.cpu()
        return as_network(module, input_shape=input_shape, classes=classes)

    name = f"student{next(_NUMBERS)}"
    FAMILIES[name] = build
    try:
        yield name
    finally:
        del FAMILIES[name]


@torch.no_grad()
def _copy_weights(network: Network, student: nn.Module) -> None:
    """Give the student the weights and buffers of its trained copy."""
    trained = network.network if isinstance(network, ModuleNet) else network
    state = trained.state_dict()
    for name, value in student.state_dict().items():
        value.copy_(state[name])
