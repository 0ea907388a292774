"""Latency is what a clock beside the forward pass shows, on the threads that a row names."""

import json
import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lpstudy.deployment import latency
from lpstudy.deployment.latency import FEWEST_RUNS, LEAST_RUNS, measure_latency, own_cores
from lpstudy.deployment.onnx_file import write_onnx
from lpstudy.model_file import TrainedModel

SHAPE = (1, 2, 2)


class Sleeper(nn.Module):
    """Sleeps in each forward pass, and notes how it is called."""

    def __init__(self, milliseconds: float) -> None:
        super().__init__()
        self.milliseconds = milliseconds
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls: list[tuple[int, int, bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(self.milliseconds / 1e3)
        self.calls.append(
            (len(images), torch.get_num_threads(), self.training, torch.is_inference_mode_enabled())
        )
        return images.flatten(1)


def test_is_the_time_of_a_forward_pass() -> None:
    models = {"short": Sleeper(2.0), "long": Sleeper(6.0)}
    short, long = measure_latency(models, SHAPE, targets=("cpu-1",), batches=(1,), seconds=0.05).rows
    for row, least in ((short, 2.0), (long, 6.0)):
        assert least <= row.median_ms <= row.p95_ms
        assert row.median_ms < least + 30
        assert row.runs >= LEAST_RUNS
    assert (short.model, long.model) == ("short", "long")


def test_runs_for_the_least_seconds() -> None:
    (row,) = measure_latency({"m": Sleeper(1.0)}, SHAPE, targets=("cpu-1",), batches=(1,), seconds=0.3).rows
    assert row.runs * row.p95_ms > 150
    assert row.runs > LEAST_RUNS


def test_a_slow_network_is_run_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST_SECONDS", 0.1)
    (row,) = measure_latency({"m": Sleeper(30.0)}, SHAPE, targets=("cpu-1",), batches=(1,)).rows
    assert FEWEST_RUNS <= row.runs < LEAST_RUNS


def test_has_the_threads_and_batches_of_its_rows_and_leaves_the_model_as_it_was() -> None:
    model, before = Sleeper(0.1).train(), torch.get_num_threads()
    rows = measure_latency({"m": model}, SHAPE, targets=("cpu-1", "cpu-n"), seconds=0.01).rows
    cores = own_cores()
    assert [(row.target, row.batch, row.threads) for row in rows] == [
        ("cpu-1", 1, 1),
        ("cpu-1", 64, 1),
        ("cpu-n", 1, cores),
        ("cpu-n", 64, cores),
    ]
    assert set(model.calls) == {(batch, threads, False, True) for batch in (1, 64) for threads in (1, cores)}
    assert model.training
    assert torch.get_num_threads() == before


def test_measures_an_onnx_file_beside_torch_and_names_the_machine(
    trained: TrainedModel, tmp_path: Path
) -> None:
    shape = trained.description.input_shape
    write_onnx(trained, shape, tmp_path / "model.onnx")
    models = {"torch": trained.network, "onnx": tmp_path / "model.onnx"}
    table = measure_latency(models, shape, targets=("cpu-1", "cuda"), batches=(1,), seconds=0.02)
    on_cpu = [row for row in table.rows if row.target == "cpu-1"]
    assert [(row.model, row.runtime) for row in on_cpu] == [("torch", "torch"), ("onnx", "onnxruntime")]
    assert all(0 < row.median_ms <= row.p95_ms for row in table.rows)
    stored = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert set(stored["machine"]["versions"]) == {"python", "torch", "onnxruntime"}
    assert stored["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert stored["rows"][0]["median_ms"] == table.rows[0].median_ms


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_says_what_is_skipped() -> None:
    table = measure_latency({"m": Sleeper(0.1)}, SHAPE, targets=("cuda",))
    assert (table.rows, table.skipped) == ((), ("cuda: torch sees no GPU",))


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^latency target must be one of cpu-1, cpu-n, cuda but got 'tpu'$"):
        measure_latency({}, SHAPE, targets=("tpu",))  # type: ignore[arg-type]
