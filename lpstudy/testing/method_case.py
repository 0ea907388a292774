"""A method between two small networks, for its checks."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lpstudy.methods import Distillation, Loss, Step, StepContext, TrainingSamples
from lpstudy.methods.reductions import teacher_outputs
from lpstudy.outputs import Classifier, Network, Outputs
from lpstudy.students import HeadShape, ReusedHeadNetwork
from lpstudy.students.layers import classifier_layer, last_linear

CLASSES = 3
IMAGE = (3, 8, 8)
"""Shape of an image."""
SAMPLES = 60
"""Samples of the training part that the batches are from."""
PROGRESS = (0.0, 0.6)
"""Shares of the training at which a method is checked."""


def require(condition: object, words: str) -> None:
    """Fail with some words where the condition does not hold."""
    if not condition:
        raise AssertionError(words)


class SmallNetwork(Network):
    """Convolutions `conv1` to `conv3` and a linear embedding, without batch normalisation, on 3x8x8 images.

    Args:
        channels: Channels of each map.
        features: Size of the embedding.
        kernel: Side of conv2's kernel; the maps of conv2 and conv3 have 9 - kernel rows and columns.
        seed: Seed of the weights.
    """

    map_names = ("conv1", "conv2", "conv3")
    middle = "conv2"
    input_shape = IMAGE

    def __init__(self, channels: int, features: int, *, kernel: int = 3, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(3, channels, 3, padding=1)
            self.conv2 = nn.Conv2d(channels, channels, kernel)
            self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
            self.embed = nn.Linear(channels, features)
            self.classify = nn.Linear(features, CLASSES)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """See `Network.forward`."""
        values, all_maps = images, {}
        for name in self.map_names:
            values = torch.relu(self.get_submodule(name)(values))
            all_maps[name] = values
        embedding = torch.tanh(self.embed(values.mean(dim=(2, 3))))
        return Outputs(self.classify(embedding), embedding, {name: all_maps[name] for name in maps})


@dataclass(frozen=True)
class MethodCase:
    """A method between two networks.

    Args:
        method: The method, resolved for the networks.
        student: Takes 3 x 8 x 8 images; without batch normalisation.
        teacher: Likewise.
    """

    method: Distillation
    student: Network
    teacher: Network

    def outputs(self, samples: int, dtype: torch.dtype = torch.float32) -> tuple[Outputs, Outputs]:
        """Both networks' outputs for always the same images."""
        images = example_images(samples).to(dtype)
        student: Outputs = self.student(images, self.method.student_maps())
        return student, teacher_outputs(self.teacher, images, self.method.teacher_needs().maps)

    def auxiliary(self) -> nn.Module | None:
        """The method's auxiliary module, always with the same weights."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            return self.method.auxiliary(*self.outputs(2), TrainingSamples(example_labels(SAMPLES)))

    def context(self, progress: float) -> StepContext:
        """What all steps at a share of the training have in common."""
        head = last_linear(self.teacher) if self.method.teacher_needs().classifier else None
        classifier = None if head is None else Classifier(head[1].weight, head[1].bias)
        weights, ce_weight = self.method.weights(progress), self.method.ce_weight
        return StepContext(weights, lambda rows: rows, CLASSES, ce_weight, classifier=classifier)

    @contextmanager
    def in_float64(self) -> Iterator[Callable[[], nn.Module | None]]:
        """Both networks in float64 within the context, which makes auxiliary modules in float64."""
        auxiliary = self.auxiliary()
        exact = None if auxiliary is None else auxiliary.double()
        self.student.double(), self.teacher.double()
        try:
            yield lambda: copy.deepcopy(exact)
        finally:
            self.student.float(), self.teacher.float()

    def step(
        self, progress: float, student: Outputs, teacher: Outputs | None, extra: nn.Module | None
    ) -> Step:
        """The step of a batch at a share of the training."""
        labels = example_labels(len(student.logits))
        step = self.context(progress).step(student, teacher, labels, torch.arange(len(labels)), extra)
        return self.with_images(step, torch.arange(len(labels)))

    def with_images(self, step: Step, rows: Tensor) -> Step:
        """The step with the images of these numbers, where the method reads them."""
        if not self.method.reads_images:
            return step
        return replace(step, input_images=example_images(SAMPLES)[rows])

    def loss(self, samples: int, progress: float, extra: nn.Module | None) -> Loss:
        """The loss of some samples."""
        return self.method.loss(self.step(progress, *self.outputs(samples), extra))


def make_case(method: Distillation, student: Network, teacher: Network) -> MethodCase:
    """A method between two networks, the student with the teacher's classifier where the method asks for it.

    Such a student's batch norms are in evaluation mode, with the statistics of the example images, so that
    its outputs are a function of the images.
    """
    if method.reuses_classifier:
        _, layer = classifier_layer(teacher, IMAGE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            head = HeadShape.of(teacher, IMAGE)
            network = ReusedHeadNetwork(copy.deepcopy(student), head, input_shape=IMAGE, classes=CLASSES)
        network.reuse(Classifier(layer.weight, layer.bias))
        for module in network.projector:
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network.train()(example_images(SAMPLES))
        student = network.eval()
    return MethodCase(method.resolved(student, teacher), student, teacher)


def example_images(samples: int) -> Tensor:
    """Always the same images, shape (samples, 3, 8, 8): noise on a colour of each image's own.

    Noise alone would give all images nearly the same features.
    """
    generator = torch.Generator().manual_seed(3)
    colours = 3 * torch.randn(samples, 3, 1, 1, generator=generator)
    return colours + torch.randn(samples, *IMAGE, generator=generator)


def example_labels(samples: int) -> Tensor:
    """Labels of all classes in turn."""
    return torch.arange(samples) % CLASSES
