import pytest
import torch

from lpstudy.students import StudentSpec, build


@pytest.mark.parametrize(
    ("depth", "shapes", "middle"),
    [
        (1, [(4, 8, 8)], "conv1"),
        (2, [(4, 8, 8), (8, 4, 4)], "conv1"),
        (3, [(4, 8, 8), (8, 4, 4), (16, 2, 2)], "conv2"),
        (4, [(4, 8, 8), (4, 8, 8), (8, 4, 4), (16, 2, 2)], "conv3"),
        (6, [(4, 8, 8)] * 2 + [(8, 4, 4)] * 2 + [(16, 2, 2)] * 2, "conv4"),
    ],
)
def test_stages_are_evenly_spaced(depth: int, shapes: list[tuple[int, int, int]], middle: str) -> None:
    network = build(StudentSpec(family="convnet", depth=depth, width=4), input_shape=(1, 8, 8), classes=3)

    maps = network(torch.zeros(2, 1, 8, 8), network.map_names).maps

    assert [tuple(maps[name].shape[1:]) for name in network.map_names] == shapes
    assert network.middle == middle


def test_the_embedding_is_the_mean_of_the_last_rectified_map() -> None:
    network = build(StudentSpec(family="convnet", depth=3, width=4), input_shape=(1, 12, 12), classes=3)
    images = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))

    outputs = network(images, ("conv3",))

    assert outputs.maps["conv3"].min() == 0
    torch.testing.assert_close(outputs.embedding, outputs.maps["conv3"].flatten(2).mean(2))
