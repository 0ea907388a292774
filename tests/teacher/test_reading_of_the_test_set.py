"""The test set is read by finals alone, at their last epoch, and by no trial of the search."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_banks import Banked

from lpstudy.data import Data
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Done, Ledger, Waiting, ledger_file_url
from lpstudy.outputs import EpochResult
from lpstudy.study import RunJob, RunJobs, StudyContext, StudyControl, StudyPaths
from lpstudy.study.run_epochs import run_reports
from lpstudy.training import train

MakeBank = Callable[..., Banked]
CPU = torch.device("cpu")


class Reads:
    """A test split that counts how often its batches are read."""

    def __init__(self, split: Any) -> None:
        self._split, self.count = split, 0

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        self.count += 1
        return self._split.batches(*args, **kwargs)

    def to(self, device: torch.device) -> "Reads":
        return self

    def __len__(self) -> int:
        return len(self._split)


def watched(data: Data) -> tuple[Data, Reads]:
    reads = Reads(data.test)
    return replace(data, test=reads), reads  # type: ignore[arg-type]  # it has what is read of a split


def runs(ledger: Ledger) -> list[Assignment]:
    """The trials and finals of a study."""
    found = []
    while isinstance(run := ledger.next(), Assignment):
        found.append(run)
        epochs = range(1, ledger.spec.budget.epochs + 1)
        ledger.report(run, [EpochResult(n, {"validation_accuracy": 50.0}) for n in epochs])
        ledger.finish(run, "finished")
    assert isinstance(run, Done | Waiting)
    return found


@pytest.fixture
def jobs(make_bank: MakeBank, tmp_path: Path) -> tuple[Banked, dict[str, RunJob]]:
    """What Tune would run for a trial and a final of plain back-prop."""
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
        gpus=0.0,
        workers=1,
    )
    paths, control = StudyPaths(LocalFolder(tmp_path), None), StudyControl(LocalFolder(tmp_path), "token")
    all_jobs = RunJobs(ledger, shared, paths, control, lambda training: training)
    found = {run.kind: all_jobs.job(run) for run in runs(ledger) if run.arm.startswith("bp")}
    return bank, found


def test_a_run_reads_it_once_where_it_is_told_to(jobs: tuple[Banked, dict[str, RunJob]]) -> None:
    bank, found = jobs
    for read_test, count in ((False, 0), (True, 1)):
        data, reads = watched(bank.data)
        results = list(train(found["trial"].trial, data, None, device=CPU, read_test=read_test))
        assert reads.count == count
        assert ["test_accuracy" in one.metrics for one in results] == [False, read_test]


def test_of_a_study_it_is_the_final_that_is_told_to(jobs: tuple[Banked, dict[str, RunJob]]) -> None:
    _, found = jobs
    assert (found["trial"].final, found["final"].final) == (False, True)
    reports = [report for job in found.values() for report in run_reports(job)]
    assert {end for _, end in reports} == {None}
    told = [result for results, _ in reports for result in results]
    assert ["test_accuracy" in one.metrics for one in told] == [False, False, False, True]


def test_finals_are_never_pruned(jobs: tuple[Banked, dict[str, RunJob]]) -> None:
    _, found = jobs
    assert found["trial"].rungs == (1,)
    assert found["final"].rungs == ()
