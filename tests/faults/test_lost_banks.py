"""Images and teacher's outputs vanish, or are cut, while a study runs."""

import os
import signal
from pathlib import Path

import pytest
from commands import run, trial_processes, wait_for_exit, write_study
from staging import FIXED, LONG, OFTEN, begun, equal_to_undisturbed, last_line, whole

KD = ("[methods.bp]", "[methods.kd]")


def test_a_study_whose_bank_is_lost_pauses_and_the_next_start_fills_it_anew(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, FIXED, OFTEN, KD)
    cache = tmp_path / "cache"
    with begun(tmp_path, LPSTUDY_CACHE=str(cache)) as process:
        (logits,) = cache.glob("banks/*/logits.*")
        logits.rename(tmp_path / "lost")  # processes that have it open still read it
        for pid in trial_processes(process.pid):
            os.kill(pid, signal.SIGKILL)
        result = wait_for_exit(process)
    assert result.code == 75, result
    assert "teacher's outputs cannot be read: " in last_line(result)
    assert "logits" in last_line(result)
    result = run(tmp_path, "sweep", "tiny.toml", LPSTUDY_CACHE=str(cache))
    assert result.code == 0, result.err
    assert logits.read_bytes() == (tmp_path / "lost").read_bytes()
    whole(tmp_path, 2)


@pytest.mark.soak
@pytest.mark.parametrize("pattern", ["banks/*/logits.*", "arrays/*/train_images.npy"])
def test_a_file_that_is_cut_while_it_is_mapped_gives_no_result(pattern: str, tmp_path: Path) -> None:
    caches = {}
    for name in ("cut", "whole"):
        folder, caches[name] = tmp_path / name, tmp_path / name / "cache"
        folder.mkdir()
        write_study(folder, LONG, FIXED, OFTEN, KD)
    with begun(tmp_path / "cut", "--concurrent", "1", LPSTUDY_CACHE=str(caches["cut"])) as process:
        (path,) = caches["cut"].glob(pattern)
        size = path.stat().st_size
        os.truncate(path, size - 200)  # in the last page: the processes read zeros, and are not killed
        result = wait_for_exit(process)
    assert result.code == 75, result
    assert f"{path}: was truncated while it was read" in last_line(result)
    for name in ("cut", "whole"):
        result = run(
            tmp_path / name, "sweep", "tiny.toml", "--concurrent", "1", LPSTUDY_CACHE=str(caches[name])
        )
        assert result.code == 0, result.err
    assert path.stat().st_size == size
    whole(tmp_path / "cut", 2)
    equal_to_undisturbed(tmp_path / "cut", tmp_path / "whole")
