"""A paused study whose newest checkpoint is damaged resumes from the previous one."""

import contextlib
import json
import signal
from pathlib import Path

import pytest
from commands import call, wait_for, wait_for_exit, write_study
from staging import FIXED, OFTEN, by_key, check_study, last_line, newest_epochs, running_sweep

from lpstudy import sweep

TRIAL = "bp-convnet-d2-w2/trial-0"


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def checkpoint_paths(folder: Path) -> dict[int, Path]:
    """The trial's checkpoints by epoch; one may vanish meanwhile."""
    paths = {}
    for path in (folder / f"studies/tiny/runs/{TRIAL}").glob("checkpoint-*.json"):
        with contextlib.suppress(FileNotFoundError):
            paths[json.loads(path.read_bytes())["epoch"]] = path
    return paths


@pytest.mark.parametrize("spoil", [truncate, pytest.param(flip, marks=pytest.mark.soak)])
def test_the_one_before_is_used_and_the_report_says_so(spoil: object, tmp_path: Path) -> None:
    assert callable(spoil)
    write_study(tmp_path, ("epochs = 2\n", "epochs = 1500\n"), FIXED, OFTEN)
    with running_sweep(tmp_path, "--in-process") as process:
        wait_for(lambda: len(checkpoint_paths(tmp_path)) == 2)
        process.send_signal(signal.SIGTERM)
        result = wait_for_exit(process)
    assert result.code == 75, last_line(result)
    acknowledged = dict(newest_epochs(tmp_path))
    epochs = checkpoint_paths(tmp_path)
    assert len(epochs) == 2
    newest = epochs[max(epochs)].with_suffix(".safetensors")
    newest.write_bytes(spoil(newest.read_bytes()))
    again = call(sweep.main, tmp_path, "tiny.toml", "--in-process")
    assert again.code == 0, again.err
    check_study(tmp_path, 2)
    assert newest_epochs(tmp_path)[TRIAL] >= acknowledged[TRIAL]
    refused_epochs = [
        epoch for epoch in by_key(tmp_path)[TRIAL].epochs if any("refused" in w for w in epoch.warnings)
    ]
    assert [epoch.epoch for epoch in refused_epochs] == [max(epochs) + 1]
    assert newest.stem in " ".join(refused_epochs[0].warnings)
    assert "refused" in again.err
    assert "refused" in (tmp_path / "reports/tiny/report.md").read_text()
