"""The step as one writes it in plain PyTorch: the networks, the loss, the loop and the loading of images."""

import copy
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn, optim
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from workload import BATCH, LEARNING_RATE, MEAN, METHOD, PAD, STD, Images

from lpstudy.students.maxout import MaxoutNet

Pair = tuple[Tensor, Tensor]
"""Images and labels of a batch."""


class Maxout(nn.Module):
    """The larger of a unit's two pieces, by torch.maximum."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, 2 * units, ...) to (m, units, ...)."""
        one, other = x.chunk(2, dim=1)
        return torch.maximum(one, other)


class PlainNet(nn.Module):
    """A FitNet or the teacher of ordinary modules, with a copy of the weights of lpstudy's network."""

    def __init__(self, network: MaxoutNet) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for layer in network.layers.children():
            modules += [copy.deepcopy(layer.get_submodule("conv")), Maxout()]
            pool = dict(layer.named_children()).get("pool")
            modules += [] if pool is None else [copy.deepcopy(pool)]
        self.features = nn.Sequential(*modules)
        self.hidden = nn.Sequential(nn.Flatten(), copy.deepcopy(network.hidden.linear), Maxout())
        self.classifier = copy.deepcopy(network.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (m, classes)."""
        return self.both(images)[0]

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, shape (m, classes), and embedding, shape (m, features)."""
        embedding = self.hidden(self.features(images))
        return self.classifier(embedding), embedding


def lp_term(student: Tensor, teacher: Tensor, n_neighbors: int) -> Tensor:
    """1/(2m) * sum_ij a_ij |s_i - s_j|^2, neighbours gathered; sigma^2 is the median squared distance."""
    with torch.no_grad():
        distances = torch.cdist(teacher, teacher).square().fill_diagonal_(torch.inf)
        nearest, neighbors = distances.topk(n_neighbors, largest=False)
        weights = torch.exp(-nearest / nearest.median())
    squared = (student[:, None] - student[neighbors]).square().sum(dim=2)
    return (weights * squared).sum() / (2 * len(student))


def kd_term(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T))."""
    log_student = functional.log_softmax(student / temperature, dim=1)
    soft = functional.softmax(teacher / temperature, dim=1)
    return temperature**2 * functional.kl_div(log_student, soft, reduction="batchmean")


def backward(loss: Tensor) -> None:
    """Gradients of all leaves."""
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


class PlainLoop:
    """CE + KD + LP with the teacher run at each step, and SGD: a loop as tutorials have it."""

    def __init__(self, student: PlainNet, teacher: PlainNet, batches: Iterator[Pair]) -> None:
        self.student, self.batches = student, batches
        self.teacher = teacher.eval().requires_grad_(False)
        self.optimizer = optim.SGD(student.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True)

    def step(self) -> None:
        """One batch."""
        images, labels = next(self.batches)
        with torch.no_grad():
            teacher_logits, teacher_embedding = self.teacher.both(images)
        logits, embedding = self.student.both(images)
        loss = functional.cross_entropy(logits, labels)
        loss = loss + METHOD.kd_weight * kd_term(logits, teacher_logits, METHOD.kd_temperature)
        loss = loss + METHOD.gamma * lp_term(embedding, teacher_embedding, METHOD.n_neighbors)
        self.optimizer.zero_grad()
        backward(loss)
        self.optimizer.step()


@torch.no_grad()
def correct(network: PlainNet, images: Tensor, labels: Tensor) -> int:
    """The number of images that are classified correctly."""
    network.eval()
    count = int((network(images).argmax(1) == labels).sum())
    network.train()
    return count


class PILImages(Dataset[tuple[Tensor, int]]):
    """Decoded images made PIL images one by one and transformed, as torchvision.datasets.CIFAR10 does it."""

    def __init__(self, images: npt.NDArray[np.uint8], labels: list[int]) -> None:
        from torchvision import transforms

        self.images, self.labels = images, labels
        self.transform: Callable[[object], Tensor] = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=PAD),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A view of an image, float32 of shape (3, 32, 32), and its label."""
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def pil_images(images: Images, count: int) -> PILImages:
    """The first images as torchvision has them: an array of shape (n, 32, 32, 3) and a list of labels."""
    array = np.ascontiguousarray(images.pixels[:count].numpy().transpose(0, 2, 3, 1))
    return PILImages(array, images.labels[:count].tolist())


def pil_batches(images: Images, count: int) -> Iterator[Pair]:
    """Batches without end, shuffled, in the loop's own process."""
    return endless(DataLoader(pil_images(images, count), BATCH, shuffle=True, drop_last=True))


def endless(batches: Iterable[Pair]) -> Iterator[Pair]:
    """The batches over and over."""
    while True:
        yield from batches
