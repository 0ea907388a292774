"""The teacher's outputs vanish while a study runs."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from running import ended, of_trials, run, write_space
from staging import FIXED, LONG, OFTEN, begun, last_line, whole

KD = ("[methods.bp]", "[methods.kd]")


@pytest.mark.parametrize("lost", ["moved away", pytest.param("truncated", marks=pytest.mark.soak)])
def test_a_study_whose_bank_is_lost_pauses_and_the_next_start_fills_it_anew(
    lost: str, tmp_path: Path
) -> None:
    write_space(tmp_path, LONG, FIXED, OFTEN, KD)
    cache = tmp_path / "cache"
    with begun(tmp_path, LPSTUDY_CACHE=str(cache)) as process:
        (logits,) = cache.glob("banks/*/logits.*")
        shutil.copy(logits, tmp_path / "lost")
        if lost == "truncated":
            os.truncate(logits, 100)  # kills the processes that have it mapped, by SIGBUS
        else:
            logits.unlink()  # processes that have it open still read it
            for pid in of_trials(process.pid):
                os.kill(pid, signal.SIGKILL)
        left = ended(process)
    assert left.code == 75, left
    assert "teacher's outputs cannot be read: " in last_line(left)
    assert "logits" in last_line(left)
    left = run(tmp_path, "sweep", "tiny.toml", LPSTUDY_CACHE=str(cache))
    assert left.code == 0, left.err
    assert logits.read_bytes() == (tmp_path / "lost").read_bytes()
    whole(tmp_path, 2)
