import json
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gate
import gpu
import loss_forms
import lp
import measuring
import methods
import packing
import peer
import plain
import pytest
import step
import torch
import workload
from torch import Tensor
from watching import Allocations
from workload import CPU, Images

from lpstudy.teacher import Bank

ROOT = Path(__file__).parents[1]
Main = Callable[[list[str]], None]

TINY: list[tuple[Main, list[str]]] = [
    (lp.main, ["--samples", "64", "--features", "16", "--rounds", "1"]),
    (step.main, ["--students", "fitnet1", "--rounds", "1"]),
    (peer.main, ["--steps", "1", "--rounds", "1"]),
    (methods.main, ["--students", "resnet20", "--methods", "rkd", "lp random", "--rounds", "1"]),
    (gpu.main, ["--device", "cpu", "--steps", "2", "--rounds", "1", "--packed"]),
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Shrink batches to eight images: the computation is the same, and the times are meaningless."""
    for module in (
        lp,
        step,
        peer,
        gpu,
        methods,
        packing,
        *(sys.modules[name] for name in ("workload", "gate", "boxed", "plain")),
    ):
        if hasattr(module, "BATCH"):
            monkeypatch.setattr(module, "BATCH", 8)
    monkeypatch.setattr(step, "VALIDATION", 2)
    monkeypatch.delenv("LPSTUDY_DATA", raising=False)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("main", "flags"), TINY, ids=["lp", "step", "peer", "methods", "gpu"])
def test_runs_and_writes_what_it_measured(main: Main, flags: list[str], tmp_path: Path) -> None:
    main([*flags, "--json", str(tmp_path / "new" / "results.json")])
    results: dict[str, Any] = json.loads((tmp_path / "new" / "results.json").read_bytes())
    assert results["machine"]["torch"] == torch.__version__
    if "data" in results:
        assert results["data"] == "generated images"
    if main is peer.main:
        ratios = ("warm_bf16", "warm_fp32", "sweep4", "sweep16", "lp_share")
        assert all(results[name] > 0 for name in ratios)
        assert results["agreement"]["plain loop"] < 1e-3
    if main is methods.main:
        assert results["steps"]["resnet20"]["ms"]["fp32"].keys() == {"bp", "rkd", "lp random"}
        assert {"dkd", "wttm", "sp", "cc"} <= {line["loss"] for line in results["losses"]["resnet20"]}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("main", [step.main, peer.main], ids=["step", "peer"])
def test_the_gate_stops_a_comparison_with_another_loss(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = next(flags for one, flags in TINY if one is main)
    kd_term = plain.kd_term
    monkeypatch.setattr(plain, "kd_term", lambda student, teacher, t: 1.1 * kd_term(student, teacher, t))
    with pytest.raises(measuring.DisagreementError, match="update of fitnet1"):
        main(flags)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["dkd", "wttm", "sp", "cc"])
def test_the_gate_stops_a_comparison_with_another_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = f"plain_{name}"
    right = getattr(loss_forms, form)
    monkeypatch.setattr(loss_forms, form, lambda student, teacher: 1.01 * right(student, teacher))
    with pytest.raises(measuring.DisagreementError, match=f"the value of {name}, fitnet1"):
        methods.measured_losses("fitnet1", rounds=1)


@pytest.mark.usefixtures("small")
def test_gpu_tells_of_a_closed_gate_and_continues(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kd_term = plain.kd_term
    monkeypatch.setattr(plain, "kd_term", lambda student, teacher, t: 1.1 * kd_term(student, teacher, t))
    with pytest.raises(SystemExit, match="1"):
        gpu.main([*TINY[-1][1], "--json", str(tmp_path / "results.json")])
    results = json.loads((tmp_path / "results.json").read_bytes())
    assert results["agreement"] is None
    assert "update of fitnet1" in results["gate"]
    assert results["fp32"]["ms"] != 0
    assert "the gate is closed" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_one_thread_queues_a_step_of_each_run_in_turn() -> None:
    split = workload.make_data(workload.load_images(None, 24), train=16).with_views(1)
    generator = torch.Generator().manual_seed(0)
    sizes = {"logits": (1, 16, 10), "embedding": (1, 16, 500)}
    outputs = {name: torch.randn(size, generator=generator).half() for name, size in sizes.items()}
    bank = Bank(outputs, workload.network("teacher"), 1, None, CPU)
    runs = [packing.runner("fitnet1", split, bank, "fp32", seed) for seed in range(2)]
    order: list[tuple[int, int]] = []

    def noted(number: int, step: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            order.append((number, threading.get_ident()))
            return step(*arguments)

        return call

    for number, run in enumerate(runs):
        run.step = noted(number, run.step)
    packing.on_streams(runs, steps=2, rounds=1)
    whole, half = [0, 1, 0, 1], [0, 1]
    assert [number for number, _ in order] == whole * 2 + half * 2  # a call before each is not counted
    assert {thread for _, thread in order} == {threading.get_ident()}


def test_a_way_that_fails_does_not_end_the_others() -> None:
    def fail() -> float:
        raise RuntimeError("1 of 2 processes\nfailed")

    found = gpu.packed({"streams": fail, "processes": lambda: 0.25})
    assert found == {
        "streams_ms": None,
        "streams_failed": "1 of 2 processes failed",
        "processes_ms": 250.0,
    }


def test_a_process_that_fails_lets_no_other_wait_for_it() -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2, timeout=300)
    processes = [context.Process(target=barrier.wait), context.Process(target=sys.exit, args=(3,))]
    start_time = time.monotonic()
    for process in processes:
        process.start()
    with pytest.raises(RuntimeError, match="2 of 2 processes failed"):
        packing.join(processes, barrier)
    assert time.monotonic() - start_time < 60
    assert packing.STARTED <= 60


@pytest.mark.parametrize(("agrees_on", "shares"), [(0, [0]), (32, [0, 32]), (64, [0, 32, 64]), (96, None)])
def test_a_gate_opens_where_the_sides_agree_on_one_of_three_sets(
    agrees_on: int, shares: list[int] | None
) -> None:
    seen = []

    def compare(images: Images) -> int:
        seen.append(int(images.labels[0]))
        if seen[-1] != agrees_on:
            raise measuring.DisagreementError("apart")
        return agrees_on

    images = Images(torch.arange(200).view(200, 1), torch.arange(200), "numbers")
    if shares is None:
        with pytest.raises(measuring.DisagreementError):
            gate.first_agreement(compare, images)
        assert seen == [0, 32, 64]
    else:
        assert gate.first_agreement(compare, images) == agrees_on
        assert seen == shares


@pytest.mark.parametrize("form", ["gather", "broadcast", "loop"])
def test_the_gate_stops_a_comparison_with_another_lp(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = lp.FORMS[form]
    monkeypatch.setitem(lp.FORMS, form, lambda s, t, bandwidth: 1.01 * right(s, t, bandwidth))
    with pytest.raises(measuring.DisagreementError, match=f"value of the {form}"):
        lp.main(TINY[0][1])


def test_lp_makes_no_tensor_of_m_times_m_times_d_and_the_broadcast_does() -> None:
    sizes = lp.measure(64, 32, rounds=1)["largest_elements"]
    assert sizes["laplacian"] == 64 * 64
    assert sizes["broadcast"] == 64 * 64 * 32


def test_allocations_sees_what_is_held_and_what_is_let_go() -> None:
    with Allocations() as seen:
        first = torch.ones(1000)
        second = first * 2
        del first
        third = second.view(10, 100) + 1
        del second, third
    assert seen.largest == 1000
    assert seen.peak == 8000


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([torch.tensor([1.0, 1.1])], "differs by"),
        ([torch.tensor([1.0, float("nan")])], "differs by"),
        ([torch.ones(3)], "shape"),
    ],
)
def test_agree_refuses(other: list[Tensor], message: str) -> None:
    with pytest.raises(measuring.DisagreementError, match=message):
        measuring.agree("a sum", [torch.ones(2)], other)


def test_interleaved_calls_the_sides_in_turn() -> None:
    called: list[str] = []
    times = measuring.interleaved({name: lambda name=name: called.append(name) for name in "ab"}, 2)
    assert "".join(called) == "ababab"
    assert [len(values) for values in times.values()] == [2, 2]


def test_gpu_says_in_one_line_that_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    process = subprocess.run([sys.executable, "benchmarks/gpu.py"], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr == "gpu.py: there is no GPU here\n"


def test_gpu_needs_the_core_alone() -> None:
    others = ["ray", "mlflow", "optuna", "pandas", "sklearn", "torchvision", "PIL", "filelock", "safetensors"]
    program = f"import sys; sys.modules.update(dict.fromkeys({others!r})); import gpu"
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "benchmarks", capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
