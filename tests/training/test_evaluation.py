"""Evaluation takes no more memory than a training step, and its results do not depend on how it is cut."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lpstudy.data.order import split_batches
from lpstudy.data.pixels import ArrayPixels
from lpstudy.data.preprocessing import Preprocessing
from lpstudy.data.split import Split
from lpstudy.students import StudentSpec, build
from lpstudy.training import activations, evaluate
from lpstudy.training.activations import Activations, activations_of
from lpstudy.training.memory_format import set_memory_format
from lpstudy.training.predictions import Predictions

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NETWORKS = {
    "convnet": StudentSpec(family="convnet", depth=3, width=4),
    "maxout": StudentSpec(family="maxout", depth=3, width=4),
    "wrn": StudentSpec(family="wrn", depth=10, width=1),
}


def images_of(count: int, side: int) -> Split:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    rows = torch.arange(count)
    preprocessing = Preprocessing((0.5,) * 3, (0.25,) * 3)
    return Split(ArrayPixels(torch.from_numpy(pixels), rows), rows % 10, preprocessing)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("count", [530, 7])
def test_results_are_the_same_to_the_last_digit_however_many_images_are_run_at_once(
    name: str, count: int
) -> None:
    split = images_of(count, 16)
    network = build(NETWORKS[name], input_shape=(3, 16, 16), classes=10, seed=0)
    set_memory_format(network)
    whole = evaluate(network, split)
    for chunk_size in (499, 128, 33, 16, 6):
        assert evaluate(network, split, chunk_size=chunk_size) == whole


def test_the_loss_is_the_mean_over_all_images() -> None:
    split = images_of(530, 8)
    network = build(NETWORKS["convnet"], input_shape=(3, 8, 8), classes=10, seed=0)
    set_memory_format(network)
    (batch,) = split.batches(batch_size=530, device=CPU)
    network.eval()
    with torch.no_grad():
        logits = network(batch.images).logits.double()
    accuracy, loss = evaluate(network, split, chunk_size=50)
    assert loss == pytest.approx(functional.cross_entropy(logits, batch.labels).item(), rel=1e-6)
    assert accuracy == 100 * (logits.argmax(1) == batch.labels).double().mean().item()


def test_hits_are_those_of_the_five_largest_logits_and_of_each_class() -> None:
    split = images_of(530, 8)
    labels = (torch.arange(530) ** 2 % 37).clamp(max=24)
    split = Split(split.pixels, labels, split.preprocessing)
    network = build(NETWORKS["convnet"], input_shape=(3, 8, 8), classes=25, seed=0)
    set_memory_format(network)
    (batch,) = split.batches(batch_size=530, device=CPU)
    with torch.no_grad():
        logits = network.eval()(batch.images).logits.numpy()
    order = np.argsort(-logits, axis=1)
    hits = Predictions.of(530, classes=25, device=CPU)
    accuracy, _ = evaluate(network, split, chunk_size=50, predictions=hits)
    is_correct = order[:, 0] == labels.numpy()
    assert hits.correct.tolist() == is_correct.tolist()
    assert accuracy == pytest.approx(100 * is_correct.mean())
    by_class = [is_correct[labels.numpy() == label].mean() for label in np.unique(labels)]
    expected = {
        "top5_accuracy": 100 * (order[:, :5] == labels.numpy()[:, None]).any(1).mean(),
        "balanced_accuracy": 100 * np.mean(by_class),
    }
    metrics = hits.metrics(labels)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    few = Predictions.of(20, classes=19, device=CPU)
    assert few.among_five is None
    assert not {*few.metrics(torch.arange(20) % 2)} & {*expected}


def test_parts_are_even_and_never_larger_than_asked_for() -> None:
    parts = split_batches(torch.arange(1030), 500, 120)
    assert [len(part) for part in parts] == [100] * 10 + [30]
    assert torch.equal(torch.cat(parts), torch.arange(1030))
    assert [len(part) for part in split_batches(torch.arange(9), 5)] == [5, 4]


def test_activations_are_counted_as_by_hand() -> None:
    # Layer 1: convolution and normalisation, 16 x 8 x 8 each, the ReLU in place; layer 2: 32 x 4 x 4 each.
    # Saved: both of both layers and the linear layer's input; the mean over positions needs nothing.
    memory = activations_of(
        StudentSpec(family="convnet", depth=2, width=16), input_shape=(1, 8, 8), classes=10
    )
    first, second, pixels = 4 * 16 * 64, 4 * 32 * 16, 64 * 9
    assert memory.forward_peak == pytest.approx(2 * first + pixels, abs=2 * 4 * (16 + 32))
    assert memory.saved_for_backward == pytest.approx(
        2 * first + 2 * second + 4 * 32 + pixels, abs=4 * 4 * (16 + 32)
    )


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("batch_size", [1, 4, 128, 4096])
@pytest.mark.parametrize("side", [8, 32, 256])
def test_no_more_bytes_than_a_step_keeps_unless_they_are_few(
    side: int, batch_size: int, device: torch.device
) -> None:
    memory = activations_of(NETWORKS["convnet"], input_shape=(3, side, side), classes=10)
    rows = memory.rows(batch_size, device)
    assert rows >= 1
    used_bytes = rows * memory.forward_peak
    assert used_bytes <= max(
        batch_size * memory.saved_for_backward, activations.SMALLEST, memory.forward_peak
    )
    assert used_bytes <= activations.LARGEST or rows == 1


def test_one_image_is_run_even_where_it_takes_more_than_the_limit() -> None:
    assert Activations(forward_peak=2**31, saved_for_backward=2**31).rows(4, CPU) == 1


def test_small_images_are_run_many_at_once() -> None:
    digits = activations_of(NETWORKS["convnet"], input_shape=(1, 8, 8), classes=10)
    assert digits.rows(32, CPU) >= 500


PEAKS = """
import torch
from pathlib import Path
from torch.nn import functional
from lpstudy.data import Order
from lpstudy.training import evaluate
from lpstudy.training.activations import activations_of
from lpstudy.training.memory_format import set_memory_format
from lpstudy.students import StudentSpec, build
from test_evaluation import CPU, images_of

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if "VmHWM" in line).split()[1]) / 2**10

torch.set_num_threads(1)
spec, shape, split = StudentSpec(family="convnet", depth=3, width=16), (3, 128, 128), images_of(200, 128)
network = build(spec, input_shape=shape, classes=10, seed=0)
layout = set_memory_format(network)
chunk_size = activations_of(spec, input_shape=shape, classes=10).rows(16, CPU)
for batch, _ in zip(split.epoch(Order(0, 1, 16), device=CPU), range(3)):
    images = batch.images.contiguous(memory_format=layout)
    functional.cross_entropy(network(images).logits, batch.labels).backward()
del batch, images
before = peak()
evaluate(network, split, chunk_size=chunk_size)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak")
def test_the_process_is_no_larger_after_an_evaluation_than_after_training() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PEAKS], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert float(process.stdout) < 16  # MiB; with 200 images at once it is 466
