"""The test set is read by finals alone, at their last epoch, and by no trial of the search."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_banks import SmallBank

from lpstudy.data import Data
from lpstudy.data.corruptions import Corruption, corrupt
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Done, Ledger, Waiting, ledger_file_url
from lpstudy.model_file import load_model
from lpstudy.outputs import EpochResult
from lpstudy.space import ShiftSettings
from lpstudy.students import StudentSpec
from lpstudy.study import RunJob, RunJobs, StudyContext, StudyControl, StudyPaths
from lpstudy.study.run_epochs import run_reports
from lpstudy.training import train

MakeBank = Callable[..., SmallBank]
CPU = torch.device("cpu")


class Reads:
    """A test split that counts how often its batches are read."""

    def __init__(self, split: Any) -> None:
        self._split, self.count = split, 0
        self.labels = split.labels

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        self.count += 1
        return self._split.batches(*args, **kwargs)

    def to(self, device: torch.device) -> "Reads":
        return self

    def __len__(self) -> int:
        return len(self._split)


def with_counted_reads(data: Data) -> tuple[Data, Reads]:
    reads = Reads(data.test)
    return replace(data, test=reads), reads  # type: ignore[arg-type]  # it has what is read of a split


def runs(ledger: Ledger) -> list[Assignment]:
    """The trials and finals of a study."""
    assignments = []
    while isinstance(run := ledger.next(), Assignment):
        assignments.append(run)
        epochs = range(1, ledger.spec.budget.epochs + 1)
        ledger.report(run, [EpochResult(n, {"validation_accuracy": 50.0}) for n in epochs])
        ledger.finish(run, "finished")
    assert isinstance(run, Done | Waiting)
    return assignments


@pytest.fixture
def jobs(make_bank: MakeBank, tmp_path: Path) -> tuple[SmallBank, dict[str, RunJob]]:
    """The jobs of a trial and a final of plain back-prop."""
    bank = make_bank({"bp": {}, "kd": {}}, views=1)
    bank.fill()
    table = {"trials": 1, "epochs": 2, "seeds": 1}
    spec = bank.spec.model_copy(update={"budget": bank.spec.budget.model_copy(update=table)})
    ledger = Ledger(
        ledger_file_url(tmp_path), spec, input_shape=bank.data.input_shape, classes=bank.data.classes
    )
    ledger.check_unchanged("images")
    shared = StudyContext(
        data=spec.data,
        data_root=None,
        teacher=spec.teacher,
        teacher_file=bank.file,
        plan=bank.plan,
        shift=ShiftSettings(corruptions=("noise",), severities=(1, 5)),
        gpus=0.0,
        workers=1,
    )
    paths, control = StudyPaths(LocalFolder(tmp_path), None), StudyControl(LocalFolder(tmp_path), "token")
    all_jobs = RunJobs(ledger, shared, paths, control, lambda training: training)
    jobs_by_kind = {run.kind: all_jobs.job(run) for run in runs(ledger) if run.arm.startswith("bp")}
    return bank, jobs_by_kind


def test_a_run_reads_it_once_if_read_test_is_true(jobs: tuple[SmallBank, dict[str, RunJob]]) -> None:
    bank, jobs_by_kind = jobs
    for read_test, count in ((False, 0), (True, 1)):
        data, reads = with_counted_reads(bank.data)
        results = list(train(jobs_by_kind["trial"].trial, data, None, device=CPU, read_test=read_test))
        assert reads.count == count
        assert ["test_accuracy" in one.metrics for one in results] == [False, read_test]


def test_only_the_final_of_a_study_reads_it(jobs: tuple[SmallBank, dict[str, RunJob]]) -> None:
    _, jobs_by_kind = jobs
    assert (jobs_by_kind["trial"].final, jobs_by_kind["final"].final) == (False, True)
    reports = [report for job in jobs_by_kind.values() for report in run_reports(job)]
    assert {end for _, end in reports} == {None}
    all_results = [result for results, _ in reports for result in results]
    for name in ("test_accuracy", "shift_noise_1", "shift_noise_5"):
        assert [name in one.metrics for one in all_results] == [False, False, False, True]


def test_corrupted_images_are_those_of_the_pixels(
    jobs: tuple[SmallBank, dict[str, RunJob]], tmp_path: Path
) -> None:
    bank, jobs_by_kind = jobs
    data = bank.data.with_shifts([("noise", 5), ("contrast", 1)])
    student = StudentSpec(family="convnet", depth=2, width=16)
    run = jobs_by_kind["final"].trial.model_copy(update={"student": student, "epochs": 25})
    *_, last = train(run, data, None, device=CPU, read_test=True, folder=tmp_path / "run")
    network = load_model(tmp_path / "run").network.eval()
    pixels = next(data.test.pixels.read([torch.arange(len(data.test))]))
    pairs: tuple[tuple[Corruption, int], ...] = (("noise", 5), ("contrast", 1))
    for name, severity in pairs:
        images = corrupt(pixels, torch.arange(len(pixels)), name, severity).float() / 255
        mean, std = (torch.tensor(value)[:, None, None] for value in (data.mean, data.std))
        with torch.no_grad():
            hits = network((images - mean) / std).logits.argmax(1) == data.test.labels
        expected = 100 * hits.double().mean().item()
        assert last.metrics[f"shift_{name}_{severity}"] == pytest.approx(expected, abs=0.5)
    names = ("shift_noise_5", "shift_contrast_1", "test_accuracy")
    assert len({last.metrics[name] for name in names}) == 3


def test_finals_are_never_pruned(jobs: tuple[SmallBank, dict[str, RunJob]]) -> None:
    _, jobs_by_kind = jobs
    assert jobs_by_kind["trial"].rungs == (1,)
    assert jobs_by_kind["final"].rungs == ()
