"""A module whose logits are not a linear layer's is refused in one line; a network is checked."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from module_nets import CLASSES, SHAPE, HeadFirst
from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs
from lpstudy.students import as_network


class Reshaping(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.view(3, 7)


class InTrainingAnother(HeadFirst):
    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


CONV_HEAD = nn.Sequential(nn.Conv2d(3, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
ADVICE = r"return what the last linear layer gives, without softmax, or write a lpstudy\.outputs\.Network"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            HeadFirst(end=lambda x: SimpleNamespace(logits=x)),
            rf"HeadFirst returns a SimpleNamespace: .*{ADVICE}",
        ),
        (HeadFirst(end=lambda x: x.softmax(1)), rf"not the output of a linear layer; .* is head: {ADVICE}"),
        (CONV_HEAD, rf"the logits of Sequential are not the output of a linear layer: {ADVICE}"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(768, 9)),
            r"the logits of Sequential have shape \(m, 9\) but must have \(m, 5\)",
        ),
        (nn.Linear(16, CLASSES), "the logits of Linear are not the output of a linear layer"),
        (nn.Conv2d(4, 5, 3), "Conv2d cannot take images of 3x16x16: RuntimeError: Given groups=1"),
        (
            Reshaping(),
            r"Reshaping cannot take images of 3x16x16: RuntimeError at .*test_refused_modules\.py:\d+: sh",
        ),
    ],
)
def test_other_modules_are_refused_in_one_line(module: nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        as_network(module, input_shape=SHAPE, classes=CLASSES)
    assert "\n" not in str(caught.value)


def test_another_output_in_training_is_refused_before_anything_trains() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="returns a tuple in training mode: it must"):
        as_network(InTrainingAnother(), input_shape=SHAPE, classes=CLASSES)


class Own(Network):
    map_names, middle = (), "embedding"

    def __init__(self, outputs: Any = None) -> None:
        super().__init__()
        self.fc = nn.Linear(768, CLASSES)
        self.outputs = outputs

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Any:
        features = images.flatten(1)
        return self.outputs(self.fc(features), features) if self.outputs else self.fc(features)


def test_a_network_is_used_as_it_is_and_its_outputs_are_checked() -> None:
    own = Own(Outputs)
    assert as_network(own, input_shape=SHAPE, classes=CLASSES) is own
    assert own.input_shape == SHAPE
    for module, layers, words in (
        (Own(Outputs), ("fc",), "layers: Own is a Network, whose map_names are its maps"),
        (Own(), None, "Own is a Network and returns a Tensor: it must return Outputs"),
        (Own(lambda x, y: Outputs(x, y[..., None])), None, r"embedding .* but has \(2, 768, 1\)"),
    ):
        with pytest.raises(ValueError, match=words):
            as_network(module, input_shape=SHAPE, classes=CLASSES, layers=layers)
    with pytest.raises(ValueError, match=r"have shape \(m, 5\) but must have \(m, 6\)"):
        as_network(own, input_shape=SHAPE, classes=6)
