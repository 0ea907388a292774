"""The teacher run at each step, in bfloat16 with weights that were cast once."""

import pytest
import torch

from lpstudy.methods import Needs
from lpstudy.outputs import Batch
from lpstudy.students import StudentSpec, build
from lpstudy.teacher import OnlineTeacher
from lpstudy.training.precision import autocast

CPU = torch.device("cpu")
TEACHERS: dict[str, dict[str, object]] = {
    "convnet": {"family": "convnet", "depth": 2, "width": 8},
    "wrn": {"family": "wrn", "depth": 10, "width": 1},
    "maxout": {"family": "maxout", "depth": 3, "width": 4},
    "resnet": {"family": "torchvision", "design": "resnet18"},
    "transformer": {"family": "torchvision", "design": "swin_t"},
}


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_outputs_are_those_of_autocast_to_the_last_digit(teacher: str) -> None:
    spec = StudentSpec.model_validate(TEACHERS[teacher])
    network = build(spec, input_shape=(3, 32, 32), classes=10, seed=1).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.arange(2), torch.arange(2), 0)
    needs = Needs(logits=True, embedding=True, maps=network.map_names[:1])
    online = OnlineTeacher(network, 1, bf16=True)
    with torch.no_grad(), autocast(CPU, bf16=True):
        expected = network(images.contiguous(memory_format=online._layout), needs.maps)
    actual = online.outputs(batch, needs)
    assert torch.equal(actual.logits, expected.logits)
    assert torch.equal(actual.embedding, expected.embedding)
    assert all(torch.equal(actual.maps[name], expected.maps[name]) for name in needs.maps)
    assert actual.logits.dtype == expected.logits.dtype


def test_the_network_that_others_read_stays_in_float32() -> None:
    spec = StudentSpec.model_validate(TEACHERS["convnet"])
    online = OnlineTeacher(build(spec, input_shape=(3, 8, 8), classes=10), 1, bf16=True)
    assert {parameter.dtype for parameter in online.network.parameters()} == {torch.float32}
