"""Ray's own processes die under a sweep that started them: it pauses and can be resumed."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from commands import descendants, run, start, wait_for, wait_for_exit, write_study
from staging import LONG, OFTEN, by_key, check_study, last_line, newest_epochs, running_sweep

SERVERS = {
    "raylet": "/raylet/raylet",
    "gcs_server": "/gcs/gcs_server",
    "dashboard": "/dashboard/dashboard.py",
}
"""Parts of the servers' command lines."""
SECONDS = 60.0
TEACHER = ("width = 4\nepochs = 1\n", "width = 4\nepochs = 1500\n")


def of_ray(pid: int, name: str) -> list[int]:
    """The processes of a server of the Ray that a sweep has started; `all` means every server."""
    below = descendants(pid)
    return [one for one, line in below.items() if name == "all" or SERVERS[name] in line]


def running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def lose(process: "Popen[str]", name: str, number: int) -> float:
    """Signal a server, check that the sweep pauses in one line, and return the seconds until then."""
    below = descendants(process.pid)
    victims = of_ray(process.pid, name)
    assert victims
    start_time = time.monotonic()
    for one in victims:
        os.kill(one, number)
    result = wait_for_exit(process)
    seconds = time.monotonic() - start_time
    assert result.code == 75, result
    what = (
        "did not answer for" if number == signal.SIGSTOP else f"{name} on this machine has ended (signal 9)"
    )
    assert f"lpstudy sweep: paused: Ray's {'' if number == signal.SIGSTOP else what}" in last_line(result)
    assert what in last_line(result)
    assert last_line(result).endswith("run the same command to resume")
    assert "Raylet is terminated" not in result.err
    assert seconds < SECONDS
    wait_for(lambda: not any(running(one) for one in below), seconds=5)
    return seconds


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "number"),
    [("raylet", signal.SIGKILL), ("gcs_server", signal.SIGKILL), ("all", signal.SIGSTOP)],
)
def test_a_sweep_pauses_where_ray_is_lost_under_its_trials(name: str, number: int, tmp_path: Path) -> None:
    write_study(tmp_path, LONG, OFTEN)
    with running_sweep(tmp_path) as process:
        before = newest_epochs(tmp_path)
        print(f"{name}, {signal.Signals(number).name}: {lose(process, name, number):.1f} s")
    after = newest_epochs(tmp_path)
    assert all(after[key] >= epochs for key, epochs in before.items())
    assert {record.state for record in by_key(tmp_path).values()} <= {"running", "finished"}
    result = run(tmp_path, "sweep", "tiny.toml")
    assert result.code == 0, result.err
    check_study(tmp_path, 2)


@contextmanager
def at_its_teacher(folder: Path) -> Iterator["Popen[str]"]:
    """Start a sweep, and wait for a checkpoint of its teacher."""
    cache = folder / "cache"
    process = start(folder, "sweep", "tiny.toml", LPSTUDY_CACHE=str(cache))
    try:
        wait_for(lambda: process.poll() is not None or list(cache.rglob("checkpoint-*.json")), seconds=280)
        yield process
    finally:
        process.kill()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "number"), [("raylet", signal.SIGKILL), ("gcs_server", signal.SIGKILL), ("all", signal.SIGSTOP)]
)
def test_a_sweep_pauses_where_ray_is_lost_under_its_teacher(name: str, number: int, tmp_path: Path) -> None:
    write_study(tmp_path, TEACHER)
    with at_its_teacher(tmp_path) as process:
        print(f"teacher: {name}, {signal.Signals(number).name}: {lose(process, name, number):.1f} s")
    result = run(tmp_path, "sweep", "tiny.toml", LPSTUDY_CACHE=str(tmp_path / "cache"))
    assert result.code == 0, result.err
    check_study(tmp_path, 2)


@pytest.mark.soak
def test_a_sweep_does_not_notice_that_the_dashboard_is_killed(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, OFTEN)
    with running_sweep(tmp_path) as process:
        for one in of_ray(process.pid, "dashboard"):
            os.kill(one, signal.SIGKILL)
        result = wait_for_exit(process)
    assert result.code == 0, result.err
    check_study(tmp_path, 2)
