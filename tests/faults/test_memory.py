"""A trial that needs too much memory fails at once with the size, and other trials continue."""

import re
from pathlib import Path

import pytest
import torch
from commands import call, records, write_study

from lpstudy import sweep
from lpstudy.study.run_end import describe_death, end_of

HUGE = 65_000
"""Channels with which the last convolution alone has 304 GB of weights."""
WIDTHS = ('family = "convnet"\ndepth = 2\nwidth = 2\n', f"width = {{ choices = [2, {HUGE}] }}\n")


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "CUDA error: out of memory",
        "CUDA driver error: cudaErrorMemoryAllocation",
        "std::bad_alloc",
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_a_full_card_has_many_words(words: str) -> None:
    assert end_of(RuntimeError(words)).kind == "oom"
    assert describe_death(words) == f"oom: {words}"


def test_what_a_full_card_leads_to_is_out_of_memory_too() -> None:
    error = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    error.__context__ = RuntimeError("CUDA out of memory. Tried to allocate 2.50 GiB")
    assert end_of(error).cause == "oom: tried to allocate 2.50 GiB"


@pytest.mark.parametrize(
    "words", ["CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"]
)
def test_other_errors_of_the_card_are_raised_again(words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        end_of(RuntimeError(words))
    assert describe_death(words) == words


def test_a_study_with_trials_that_do_not_fit(tmp_path: Path) -> None:
    old, new = WIDTHS
    write_study(tmp_path, (old, f'family = "convnet"\ndepth = 2\n{new}'), ("trials = 1", "trials = 6"))
    result = call(sweep.main, tmp_path, "tiny.toml", "--in-process")
    assert result.code == 0, result.err
    trials = [record for record in records(tmp_path, "tiny") if record.assignment.kind == "trial"]
    by_width = {width: [r for r in trials if r.assignment.values["width"] == width] for width in (2, HUGE)}
    assert all(by_width.values()), "the sampler tried one width alone"
    for record in by_width[HUGE]:
        assert record.state == "failed"
        assert record.assignment.attempt == 1
        assert re.fullmatch(r"oom: tried to allocate 304200000000 bytes", str(record.cause)), record.cause
    assert {record.state for record in by_width[2]} <= {"finished", "pruned"}
    assert {record.assignment.attempt for record in by_width[2]} == {1}


@pytest.mark.soak
def test_trials_on_train_workers_that_do_not_fit_fail_once(tmp_path: Path) -> None:
    old, _ = WIDTHS
    write_study(tmp_path, (old, f'family = "convnet"\ndepth = 2\nwidth = {HUGE}\n'))
    result = call(sweep.main, tmp_path, "tiny.toml", "--workers-per-trial", "2")
    assert result.code == 1, result.err
    (record,) = records(tmp_path, "tiny")
    assert (record.state, record.assignment.attempt) == ("failed", 1)
    assert record.cause == "oom: tried to allocate 304200000000 bytes"


def test_the_size_is_in_the_cause() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**48)
    assert end_of(error.value).cause == f"oom: tried to allocate {2**50} bytes"
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has 1 GiB")
    assert end_of(cuda).cause == "oom: tried to allocate 2.50 GiB"
    assert end_of(MemoryError()).cause == "oom: out of memory"


def test_what_is_no_lack_of_memory_is_raised() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        end_of(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_process_that_ray_killed_for_memory_is_reported_so() -> None:
    message = "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."
    assert describe_death(message) == f"oom: {message}"
    assert describe_death("its process died") == "its process died"
