"""A network that cannot train on one image per worker is refused before the study starts."""

import pytest

from lpstudy.command.batch_norm import check_batch_norm
from lpstudy.space import StudentSpec
from lpstudy.students import skeleton

SETTING = "--workers-per-trial 2: training.batch_size = 2"


def check(spec: StudentSpec, side: int) -> None:
    shape = (3, side, side)
    check_batch_norm(skeleton(spec, input_shape=shape, classes=10), shape, spec.label(), SETTING)


@pytest.mark.parametrize("design", ["resnet18", "mobilenet_v2"])
def test_maps_of_one_pixel_are_refused(design: str) -> None:
    with pytest.raises(ValueError, match=f"{SETTING}: a worker has one image .* the batch norm of {design}"):
        check(StudentSpec(family="torchvision", design=design), 32)


@pytest.mark.parametrize(
    ("spec", "side"),
    [
        (StudentSpec(family="torchvision", design="resnet18"), 64),
        (StudentSpec(family="convnet", depth=6, width=2), 8),
        (StudentSpec(family="wrn", depth=10, width=1), 8),
        (StudentSpec(family="maxout", design="fitnet1"), 32),
    ],
)
def test_larger_maps_and_networks_without_batch_norm_are_accepted(spec: StudentSpec, side: int) -> None:
    check(spec, side)
