"""Two workers that share every batch do what one does: real processes, gloo."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, multiprocessing

from lpstudy import correctness
from lpstudy.data import Data
from lpstudy.methods import METHODS
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec
from lpstudy.spending import MEASURED
from lpstudy.students import StudentSpec
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import Directive, checkpoint, parallel, partial_epoch, train
from lpstudy.training.directive import Poll

MakeTrial = Callable[..., RunSpec]

CPU = torch.device("cpu")
WORKERS = 2
NORMED = StudentSpec(family="convnet", depth=2, width=4)
"""A network with batch norm."""
# A projector and fused levels have batch norm, whose statistics are those of a worker's own share.
UNNORMED = [name for name, model in METHODS.items() if not model.reuses_classifier and name != "reviewkd"]
CASES: dict[str, dict[str, object]] = {method: {} for method in UNNORMED} | {
    "fitnet": {"mode": "joint"},
    "two_stage": {"method": "fitnet", "mode": "two_stage", "hint_fraction": 0.5},
    **{
        f"lp_{graph}": {"method": "lp", "graph": graph, "ramp": 0.0}
        for graph in ("random", "labels", "input")
    },
    # Little of what the default would let diverge in a network without batch norm.
    "dkd": {"alpha": 0.1, "beta": 0.1},
    "dist": {"beta": 0.1, "gamma": 0.1},
    "wttm": {"weight": 0.05},
}


def teacher_logits(data: Data) -> Tensor:
    """Logits that a teacher might have of the test images."""
    return torch.randn(len(data.test), data.classes, generator=torch.Generator().manual_seed(4))


def pairs(rows: Tensor) -> Tensor:
    """A number to which every row contributes by its place and together with its neighbours."""
    places = torch.arange(1, len(rows) + 1, dtype=rows.dtype)
    return (places * rows.sin().prod(1)).sum() + sum((a * b).sum() ** 2 for a, b in pairwise(rows))


def longer(trial: RunSpec, **values: object) -> RunSpec:
    """The same in ten steps an epoch."""
    settings = {"batch_size": 10, "checkpoint_seconds": 1000.0} | values
    return trial.model_copy(update={"training": trial.training.model_copy(update=settings)})


def after(looks: int, then: Directive) -> Poll:
    """Asks for nothing so many times, then for that."""
    remaining = iter(range(looks))
    return lambda: then if next(remaining, None) is None else Directive.CONTINUE


def compared(epoch_result: EpochResult) -> dict[str, Tensor]:
    """All but the time."""
    return {
        key: torch.tensor(value, dtype=torch.float64)
        for key, value in epoch_result.metrics.items()
        if key not in MEASURED
    }


def work(
    rank: int, store: str, folder: str, trials: dict[str, RunSpec], data: Data, teacher: OnlineTeacher
) -> None:
    """All that the tests below look at, in one process group: to start one takes longer than to use it."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORKERS)
    result: dict[str, Tensor] = {}

    rows = torch.arange(12.0).reshape(6, 2)[rank * 3 : rank * 3 + 3].requires_grad_()
    whole = parallel.gather(rows)
    result["gathered"] = whole.detach()
    pairs(whole).backward()
    assert rows.grad is not None
    result["gradient"] = rows.grad

    norm = torch.nn.BatchNorm1d(2)
    norm.running_mean = torch.tensor([1.0, 2.0]) * (rank + 1)
    with parallel.averaged_buffers([norm]):
        result["mean_within"] = norm.running_mean.clone()
    result["mean_after"] = norm.running_mean.clone()
    parallel.average_buffers(norm)
    result["mean"] = norm.running_mean

    for name, trial in trials.items():
        for epoch_result in train(trial, data, teacher, device=CPU, folder=Path(folder) / name):
            result |= {
                f"{name}.{epoch_result.epoch}.{key}": value for key, value in compared(epoch_result).items()
            }
    tested = trials["bp"].model_copy(update={"epochs": 1})
    teacher.read_test_logits = partial(teacher_logits, data)
    (epoch_result,) = train(tested, data, teacher, device=CPU, read_test=True)
    result["test_correct"] = torch.from_numpy(correctness.unpack(epoch_result.test_correct))
    result |= {key: value for key, value in compared(epoch_result).items() if key.startswith("test_")}
    partial_epoch.POLL_SECONDS = 0.0
    below = checkpoint._strip_prefix
    # A file's tensors come in any order: here in another one on each worker, so that it is no matter of luck.
    checkpoint._strip_prefix = lambda *of: dict(sorted(below(*of).items(), reverse=rank == 0))
    long = trials["lp"].model_copy(update={"student": NORMED, "epochs": 2})
    runs = {
        "whole": (longer(long), None),
        "kept": (longer(long, checkpoint_seconds=0.0), None),
        "stopped": (longer(long), after(16, Directive.PAUSE)),
        "handed": (longer(trials["lp"]), None),
    }
    for name, (trial, poll) in runs.items():
        of = Path(folder) / name
        if poll is not None:
            assert len(list(train(trial, data, teacher, device=CPU, folder=of, poll=poll))) == 1
            distributed.barrier()  # the first worker has written what both go on from
            assert [path.name for path in of.glob("checkpoint-*.json")] == ["checkpoint-000001_00000005.json"]
            distributed.barrier()
        for epoch_result in train(trial, data, teacher, device=CPU, folder=of):
            result |= {
                f"{name}.{epoch_result.epoch}.{key}": value for key, value in compared(epoch_result).items()
            }

    save_file(result, Path(folder) / f"rank-{rank}.safetensors")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def trials() -> dict[str, RunSpec]:
    """Five epochs of two steps in float32, in a network without batch norm."""
    return {
        name: RunSpec.model_validate(
            {
                "student": {"family": "maxout", "depth": 3, "width": 4},
                "method": {"method": name, **values},
                "training": {
                    "batch_size": 50,
                    "optimizer": "sgd",
                    "learning_rate": 0.02,
                    "precision": "fp32",
                },
                "epochs": 5,
                "seed": 2,
            }
        )
        for name, values in CASES.items()
    }


@pytest.fixture(scope="module")
def folder(
    trials: dict[str, RunSpec], data: Data, teacher: OnlineTeacher, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with the results of two workers."""
    path = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partial_epoch, "POLL_SECONDS", 0.0)
        trial, poll = longer(trials["lp"]), after(16, Directive.PAUSE)
        assert len(list(train(trial, data, teacher, device=CPU, folder=path / "handed", poll=poll))) == 1
    arguments = (str(path / "store"), str(path), trials, data, teacher)
    multiprocessing.spawn(work, args=arguments, nprocs=WORKERS)
    return path


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Tensor]]:
    return [load_file(folder / f"rank-{rank}.safetensors") for rank in range(WORKERS)]


@pytest.mark.parametrize("name", CASES)
def test_two_workers_equal_one_after_ten_steps(
    name: str, trials: dict[str, RunSpec], folder: Path, data: Data, teacher: OnlineTeacher, tmp_path: Path
) -> None:
    list(train(trials[name], data, teacher, device=CPU, folder=tmp_path))
    one = load_file(tmp_path / "checkpoint-000005.safetensors")
    two = load_file(folder / name / "checkpoint-000005.safetensors")
    assert one.keys() == two.keys()
    for key, expected in one.items():
        apart = (two[key] - expected).abs().max()
        assert apart <= 1e-5 * expected.abs().max(), key


@pytest.mark.parametrize("name", CASES)
def test_two_workers_report_what_one_does(
    name: str,
    trials: dict[str, RunSpec],
    ranks: list[dict[str, Tensor]],
    data: Data,
    teacher: OnlineTeacher,
) -> None:
    shared = ("train_", "validation_", "training_macs", "teacher_macs")
    for epoch_result in train(trials[name], data, teacher, device=CPU):
        for key, value in epoch_result.metrics.items():
            if key.startswith(shared):
                reported = ranks[0][f"{name}.{epoch_result.epoch}.{key}"].item()
                assert reported == pytest.approx(value, rel=2e-4), (epoch_result.epoch, key)


def test_workers_that_share_the_test_images_all_know_which_are_classified_correctly(
    ranks: list[dict[str, Tensor]],
    trials: dict[str, RunSpec],
    data: Data,
    teacher: OnlineTeacher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teacher, "read_test_logits", partial(teacher_logits, data))
    tested = trials["bp"].model_copy(update={"epochs": 1})
    (alone,) = train(tested, data, teacher, device=CPU, read_test=True)
    one = torch.from_numpy(correctness.unpack(alone.test_correct))
    for rank in ranks:
        assert rank["test_correct"].double().mean().item() == pytest.approx(
            rank["test_accuracy"].item() / 100
        )
        assert (rank["test_correct"] != one).sum() <= 2  # rounding may decide an image otherwise
    assert torch.equal(ranks[0]["test_correct"], ranks[1]["test_correct"])
    for name in ("test_ece", "test_nll", "test_brier", "test_agreement", "test_teacher_kl"):
        # An image that rounding decides otherwise changes calibration error and agreement.
        apart = 0.3 if name in ("test_ece", "test_agreement") else 1e-4
        assert ranks[0][name].item() == pytest.approx(alone.metrics[name], abs=apart), name
        assert torch.equal(ranks[0][name], ranks[1][name]), name


def test_gather_gives_the_rows_in_order_and_the_gradient_of_the_whole_batch(
    ranks: list[dict[str, Tensor]],
) -> None:
    rows = torch.arange(12.0).reshape(6, 2).requires_grad_()
    pairs(rows).backward()
    assert rows.grad is not None
    assert all(torch.equal(rank["gathered"], rows) for rank in ranks)
    # Averaged over the workers afterwards, hence the factor.
    torch.testing.assert_close(torch.cat([rank["gradient"] for rank in ranks]) / WORKERS, rows.grad)


def numbers(ranks: list[dict[str, Tensor]], name: str) -> list[dict[str, float]]:
    """The numbers that each worker reported about a run."""
    return [
        {key.removeprefix(name): value.item() for key, value in rank.items() if key.startswith(f"{name}.")}
        for rank in ranks
    ]


def test_a_checkpoint_within_an_epoch_changes_nothing(ranks: list[dict[str, Tensor]]) -> None:
    assert numbers(ranks, "kept") == numbers(ranks, "whole")


def test_two_workers_that_were_stopped_within_an_epoch_resume_there(ranks: list[dict[str, Tensor]]) -> None:
    # Their running statistics went on from the mean of both, hence not bit for bit. The first worker reports.
    assert numbers(ranks, "stopped")[0] == pytest.approx(numbers(ranks, "whole")[0], rel=1e-5)


def test_two_workers_resume_where_one_was_stopped_within_an_epoch(
    ranks: list[dict[str, Tensor]], trials: dict[str, RunSpec], data: Data, teacher: OnlineTeacher
) -> None:
    one: dict[str, float] = {}
    for epoch_result in train(longer(trials["lp"]), data, teacher, device=CPU):
        one |= {f".{epoch_result.epoch}.{key}": value.item() for key, value in compared(epoch_result).items()}
    for metrics in numbers(ranks, "handed"):
        assert metrics.keys() == one.keys()
        shared = {key: value for key, value in metrics.items() if ".train_" in key or ".validation_" in key}
        assert shared == pytest.approx({key: one[key] for key in shared}, rel=2e-4)


def test_running_statistics_are_averaged(ranks: list[dict[str, Tensor]]) -> None:
    assert all(rank["mean"].tolist() == [1.5, 3.0] for rank in ranks)


def test_running_statistics_are_averaged_for_a_while(ranks: list[dict[str, Tensor]]) -> None:
    assert all(rank["mean_within"].tolist() == [1.5, 3.0] for rank in ranks)
    assert [rank["mean_after"].tolist() for rank in ranks] == [[1.0, 2.0], [2.0, 4.0]]


def test_one_worker_gathers_nothing() -> None:
    rows = torch.ones(2, 2)
    assert parallel.gather(rows) is rows
    assert (parallel.rank(), parallel.world_size()) == (0, 1)
