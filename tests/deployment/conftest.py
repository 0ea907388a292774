"""Networks to deploy."""

import pytest
import torch

from lpstudy.model_file import ModelDescription, TrainedModel
from lpstudy.students import StudentSpec, build

SHAPE = (3, 16, 16)
CLASSES = ("cat", "dog", "owl", "newt")


@pytest.fixture(scope="session")
def trained() -> TrainedModel:
    """A network with random weights for images of 16 pixels."""
    spec = StudentSpec(family="convnet", depth=3, width=4)
    torch.manual_seed(0)
    network = build(spec, input_shape=SHAPE, classes=len(CLASSES))
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
    description = ModelDescription(
        architecture=spec, input_shape=SHAPE, mean=mean, std=std, class_names=CLASSES, resizing="none"
    )
    return TrainedModel(network, description)
