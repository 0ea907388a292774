"""Warnings of networks made for large images that get small ones."""

from collections.abc import Iterator

from torch import nn

from lpstudy.data import Data
from lpstudy.space import StudySpec
from lpstudy.students import StudentSpec, has_small_stem, skeleton
from lpstudy.teacher import input_of
from lpstudy.teacher.teacher_input import input_shape_of

SMALL_SIDE = 64
"""Pixels of a side below which a first convolution of stride 2 or more costs accuracy."""
FAMILIES = ("torchvision", "timm")
"""Families whose models are made for images of 224 pixels or so."""


def stem_remarks(spec: StudySpec, data: Data) -> Iterator[str]:
    """One line for each network whose stem is that of large images, where the images are small.

    Source: arXiv 2605.31191, on CIFAR-10 with ResNets.
    """
    shape = input_shape_of(input_of(spec.teacher, data), data)
    teacher = spec.teacher.network
    if (step := _first_stride(teacher, shape, data.classes)) > 1:
        remedy = "image_size" if spec.teacher.weights else _other_stem(teacher)
        yield f"teacher {teacher.label()}: {_cost(step, shape)}; give [teacher] {remedy}"
    for student in spec.students:
        if student.searched:
            continue  # such a family has sizes, and no stem for large images
        network = StudentSpec.model_validate(student.fixed)
        if (step := _first_stride(network, data.input_shape, data.classes)) > 1:
            remedy = "larger images" if student.weights else _other_stem(network)
            yield f"student {student.label}: {_cost(step, data.input_shape)}; give it {remedy}"


def _other_stem(network: StudentSpec) -> str:
    other = "a family for small images, such as resnet"
    has_stem = network.family == "torchvision" and has_small_stem(network.design or "")
    return f'stem = "small", or {other}' if has_stem else other


def _cost(stride: int, shape: tuple[int, int, int]) -> str:
    return (
        f"its first convolution, of stride {stride}, is made for large images, and these have"
        f" {shape[1]}x{shape[2]} pixels, which costs over 5 points of accuracy at 32x32 (arXiv 2605.31191)"
    )


def _first_stride(network: StudentSpec, shape: tuple[int, int, int], classes: int) -> int:
    """The stride of the first convolution; 1 where images are large, or the family is for small ones."""
    if network.family not in FAMILIES or min(shape[1:]) >= SMALL_SIDE:
        return 1
    modules = skeleton(network, input_shape=shape, classes=classes).modules()
    return next((max(module.stride) for module in modules if isinstance(module, nn.Conv2d)), 1)
