"""Networks whose logits are no linear layer of their embedding."""

import pytest
import torch

from lpstudy.outputs import Outputs
from lpstudy.students.convnet import ConvNet
from lpstudy.students.layers import classifier_layer

DIGITS = (1, 8, 8)


class Squared(ConvNet):
    """Its logits are no linear function of its embedding."""

    def forward(self, images: torch.Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        outputs = super().forward(images, maps)
        return Outputs(outputs.logits.square(), outputs.embedding, outputs.maps)


def test_logits_that_are_not_linear_in_the_embedding_are_refused() -> None:
    with pytest.raises(ValueError, match="its logits are not a linear layer of its embedding"):
        classifier_layer(Squared(depth=2, width=2, input_shape=DIGITS, classes=5), DIGITS)
