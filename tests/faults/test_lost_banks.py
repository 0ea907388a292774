"""Images and teacher's outputs that vanish or are truncated while a study runs."""

import os
import signal
from pathlib import Path

import pytest
from commands import call, trial_processes, wait_for_exit, write_study
from staging import FIXED, LONG, OFTEN, check_study, last_line, running_sweep

from lpstudy import sweep

KD = ("[methods.bp]", "[methods.kd]")


def test_a_study_whose_bank_is_lost_pauses_and_the_next_start_fills_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path, LONG, FIXED, OFTEN, KD)
    cache = tmp_path / "cache"
    with running_sweep(tmp_path, LPSTUDY_CACHE=str(cache)) as process:
        (logits,) = cache.glob("banks/*/logits.*")
        logits.rename(tmp_path / "lost")  # processes that have it open still read it
        for pid in trial_processes(process.pid):
            os.kill(pid, signal.SIGKILL)
        result = wait_for_exit(process)
    assert result.code == 75, result
    assert "teacher's outputs cannot be read: " in last_line(result)
    assert "logits" in last_line(result)
    monkeypatch.setenv("LPSTUDY_CACHE", str(cache))
    result = call(sweep.main, tmp_path, "tiny.toml", "--in-process")
    assert result.code == 0, result.err
    assert logits.read_bytes() == (tmp_path / "lost").read_bytes()
    check_study(tmp_path, 2)
