"""The reports of a trial to the driver, and the epochs at which it waits for an answer."""

from collections.abc import Iterator

import pytest

from lpstudy.outputs import EpochResult
from lpstudy.study.run_epochs import group_reports
from lpstudy.training import DivergedError


def epochs(last: int, error: Exception | None = None) -> Iterator[EpochResult]:
    for number in range(1, last + 1):
        yield EpochResult(number, {"validation_accuracy": 50.0})
    if error is not None:
        raise error


def report_chunks(
    last: int, *rungs: int, of: int, error: Exception | None = None
) -> list[tuple[list[int], str]]:
    reports = group_reports(epochs(last, error), rungs, epochs=of)
    return [([one.epoch for one in held], "" if end is None else end.cause) for held, end in reports]


def test_each_report_ends_at_a_rung_or_at_the_last_epoch() -> None:
    assert report_chunks(8, 4, 6, of=8) == [([1, 2, 3, 4], ""), ([5, 6], ""), ([7, 8], "")]
    assert report_chunks(3, of=3) == [([1, 2, 3], "")]


def test_a_trial_that_is_pruned_at_a_rung_trains_no_further_epoch() -> None:
    trained: list[int] = []

    def training() -> Iterator[EpochResult]:
        for result in epochs(8):
            trained.append(result.epoch)
            yield result

    reports = group_reports(training(), (4, 6), epochs=8)
    next(reports)
    reports.close()  # Tune ends the trial's thread within its report
    assert trained == [1, 2, 3, 4]


def test_what_was_trained_before_an_early_end_is_reported_with_it() -> None:
    assert report_chunks(3, 2, of=8) == [([1, 2], ""), ([3], "paused")]
    ends = report_chunks(1, 2, of=8, error=DivergedError("loss is nan in epoch 2"))
    assert ends == [([1], "nan: loss is nan in epoch 2")]
    with pytest.raises(RuntimeError, match="a fault of its own"):
        report_chunks(1, of=8, error=RuntimeError("a fault of its own"))
