"""Sweeps whose storage is a small disk that fills up: they pause, and resume on a larger one."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import environment, write_study
from staging import FIXED, OFTEN, check_study

pytestmark = pytest.mark.soak

SCRIPT = """
mount -t tmpfs -o size={size} tmpfs small || exit 99
{sweep} 2> first
echo $? > code
cp -r small before
{make_room}
{sweep} 2> second
echo $? >> code
cp -r small/studies studies
"""


@dataclass(frozen=True)
class Swept:
    """The results of two sweeps in a row: on a disk that became full, and with more room."""

    codes: list[int]
    first: str
    second: str


def sweep_twice(folder: Path, size: str, make_room: str, **variables: str) -> Swept:
    """Run `tiny.toml` twice in a mount namespace of its own; skips where the user may not create one."""
    (folder / "small").mkdir()
    sweep = f"{sys.executable} -m lpstudy.sweep tiny.toml --storage small/studies --concurrent 1"
    script = SCRIPT.format(size=size, sweep=sweep, make_room=make_room)
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=folder, env=environment(**variables), timeout=500
    )
    if ran.returncode in (1, 99) and not (folder / "code").exists():
        pytest.skip("no mount namespaces for this user")
    assert ran.returncode == 0
    codes = [int(word) for word in (folder / "code").read_text().split()]
    return Swept(codes, (folder / "first").read_text(), (folder / "second").read_text())


def paused(message: str) -> str:
    """The pattern of the single line of a sweep that paused."""
    assert "Traceback" not in message, message
    return message.rstrip().splitlines()[-1]


WIDE = ('family = "convnet"\ndepth = 2\nwidth = 2', 'family = "convnet"\ndepth = 3\nwidth = 64')
EPOCHS = ("epochs = 2\n", "epochs = 30\n")


def test_a_storage_that_is_too_small_for_a_checkpoint(tmp_path: Path) -> None:
    write_study(tmp_path, EPOCHS, FIXED, OFTEN, WIDE)
    sweeps = sweep_twice(tmp_path, "1500k", "mount -o remount,size=200m small")
    assert sweeps.codes == [75, 0], (sweeps.first, sweeps.second)
    line = paused(sweeps.first)
    assert re.search(r"disk full: \S+/runs/\S+: no room for [\d,]+ bytes, [\d,]+ are free", line), line
    check_study(tmp_path, 2)


def test_a_storage_that_is_too_small_for_the_ledger(tmp_path: Path) -> None:
    write_study(
        tmp_path,
        ("epochs = 2\n", "epochs = 3000\n"),
        FIXED,
        ("checkpoint_seconds = 0.0", "checkpoint_seconds = 60.0"),
    )
    sweeps = sweep_twice(tmp_path, "320k", "mount -o remount,size=200m small")
    assert sweeps.codes == [75, 0], (sweeps.first, sweeps.second)
    line = paused(sweeps.first)
    assert "ledger.db" in line, line
    assert re.search(r"disk is full, [\d,]+ bytes are free|no room for [\d,]+ bytes", line), line
    check_study(tmp_path, 2)


def test_a_cache_that_is_too_small_for_the_bank(tmp_path: Path) -> None:
    views = 'family = "convnet"\ndepth = 2\nwidth = 4'
    write_study(
        tmp_path,
        FIXED,
        ('kind = "digits"', 'kind = "digits"\npad = 4\nflip = true'),
        (views, f"views = 162\n{views}"),
        ("[methods.bp]", "[methods.kd]"),
        ("labels_per_class = 5\n", ""),
    )
    cache = tmp_path / "small/cache"
    sweeps = sweep_twice(tmp_path, "3m", "mount -o remount,size=200m small", LPSTUDY_CACHE=str(cache))
    assert sweeps.codes == [1, 0], (sweeps.first, sweeps.second)
    line = paused(sweeps.first)
    assert re.search(r"the teacher bank: \S+: .* takes [\d,]+ bytes more, but [\d,]+ are free", line), line
    check_study(tmp_path, 2)
