"""The cost of each fault: seconds until the next new epoch, and epochs that are trained twice.

    python tests/soak/recovery.py [--json FILE]

One tiny study for each fault, with a checkpoint every 0.2 s. If the fault ends the sweep, it is restarted at
once, and the seconds include the start of Python, Ray and the trial.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from commands import (
    descendants,
    free_port,
    mlflow_server,
    start,
    stop_group,
    suspend,
    terminate_all,
    trial_processes,
    wait_for,
    write_study,
)
from raylets import raylets
from staging import FIXED, OFTEN, by_key, checkpoints

ENDLESS = ("epochs = 2\n", "epochs = 100_000\n")
UNREACHABLE = 5.0
"""Seconds for which the ledger is locked or the tracking server stopped."""
WORDS = ("sweep", "tiny.toml", "--concurrent", "1")


@dataclass
class Scene:
    """A running study."""

    folder: Path
    process: "subprocess.Popen[str]"
    variables: Mapping[str, str]
    words: Sequence[str]
    cluster: Any = None
    """A cluster of two nodes, if the fault needs one."""
    server: Any = None
    """The process of a tracking server, if the fault needs one."""


def kill_trial(scene: Scene) -> None:
    """Kill a trial's process."""
    os.kill(trial_processes(scene.process.pid)[0], signal.SIGKILL)


def kill_worker(scene: Scene) -> None:
    """Kill one of two Ray Train workers of a trial."""
    workers = [pid for pid, line in descendants(scene.process.pid).items() if "RayTrainWorker" in line]
    os.kill(workers[-1], signal.SIGKILL)


def kill_driver(scene: Scene) -> None:
    """Kill the sweep's process."""
    scene.process.kill()


def terminate(scene: Scene) -> None:
    """Terminate the sweep as `ray job stop` does."""
    scene.process.send_signal(signal.SIGTERM)


def shut_down(scene: Scene) -> None:
    """Terminate all processes as a machine's shutdown does."""
    terminate_all(scene.process.pid)


def interrupt(scene: Scene) -> None:
    """Interrupt the sweep as Ctrl-C does."""
    scene.process.send_signal(signal.SIGINT)


def lock(scene: Scene) -> None:
    """Lock the ledger for some seconds."""
    with contextlib.closing(sqlite3.connect(scene.folder / "studies/tiny/ledger.db", timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(UNREACHABLE)
        other.rollback()


def halt(scene: Scene) -> None:
    """Suspend the driver for ever; a second start takes the study over."""
    scene.process.send_signal(signal.SIGSTOP)


def spoil(scene: Scene) -> None:
    """Damage the newest checkpoint and kill the trial's process."""
    with suspend(trial_processes(scene.process.pid)):
        path = max(checkpoints(scene.folder)).with_suffix(".safetensors")
        path.write_bytes(path.read_bytes()[:-100])
        kill_trial(scene)


def fill_disk(scene: Scene) -> None:
    """Simulate a full disk in the trial's process."""
    for pid in trial_processes(scene.process.pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, 1000))


def remove_node(scene: Scene) -> None:
    """Remove the node on which the trial runs."""
    (trial,) = trial_processes(os.getpid())
    node = next(one for one in scene.cluster.worker_nodes if trial in descendants(_raylet(one)))
    scene.cluster.remove_node(node, allow_graceful=False)


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def lose_server(scene: Scene) -> None:
    """Stop the tracking server for good."""
    stop_group(scene.server)


@contextlib.contextmanager
def nothing(folder: Path) -> Iterator[dict[str, Any]]:
    """No setup: the sweep starts Ray itself, and MLflow is a file."""
    yield {"variables": {}}


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[dict[str, Any]]:
    """Start a cluster whose head runs no trials."""
    with raylets({"num_cpus": 1}, {"num_cpus": 1}, num_cpus=0) as cluster:
        yield {"variables": {"RAY_ADDRESS": cluster.address}, "cluster": cluster}


@contextlib.contextmanager
def a_server(folder: Path) -> Iterator[dict[str, Any]]:
    """Start a tracking server."""
    port = free_port()
    with mlflow_server(folder / "server", port) as server:
        yield {"variables": {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}, "server": server}


Setup = Callable[[Path], contextlib.AbstractContextManager[dict[str, Any]]]
FAULTS: dict[str, tuple[Callable[[Scene], None], Setup, tuple[str, ...]]] = {
    "SIGKILL of a trial's process": (kill_trial, nothing, ()),
    "the same, newest checkpoint truncated": (spoil, nothing, ()),
    "SIGKILL of one of two Train workers": (kill_worker, nothing, ("--workers-per-trial", "2")),
    "SIGKILL of the driver": (kill_driver, nothing, ()),
    "SIGTERM to the driver": (terminate, nothing, ()),
    "SIGTERM to all processes": (shut_down, nothing, ()),
    "SIGINT to the driver": (interrupt, nothing, ()),
    "the driver stands still, a second start takes over": (halt, nothing, ()),
    "the trial's node is removed": (remove_node, two_nodes, ()),
    "disk full for a trial": (fill_disk, nothing, ()),
    f"ledger locked for {UNREACHABLE:g} s": (lock, nothing, ()),
    "tracking server gone": (lose_server, a_server, ()),
}
WITHIN = (kill_trial, spoil, kill_worker, remove_node, lock, lose_server)
"""Faults that the sweep survives."""


def acknowledged(folder: Path) -> int:
    """The epochs of each run in the ledger."""
    return sum(len(record.epochs) for record in by_key(folder).values())


def measure(name: str, folder: Path) -> dict[str, object]:
    """Run one study and inflict one fault."""
    fault, setup, words = FAULTS[name]
    write_study(folder, ENDLESS, FIXED, OFTEN)
    with setup(folder) as setup_values:
        scene = Scene(
            folder, start(folder, *WORDS, *words, **setup_values["variables"]), words=words, **setup_values
        )
        family: dict[int, str] = {}
        first = scene.process
        try:
            wait_for(lambda: len(checkpoints(folder)) > 1 and acknowledged(folder) > 100, seconds=300)
            checkpoint_epochs = sorted(json.loads(path.read_bytes())["epoch"] for path in checkpoints(folder))
            family = descendants(first.pid)
            start_time = time.monotonic()
            fault(scene)
            with contextlib.suppress(subprocess.TimeoutExpired):
                first.wait(timeout=0.1 if fault in (*WITHIN, halt) else 60)
            seconds_to_exit, code = time.monotonic() - start_time, first.returncode
            before = acknowledged(folder)
            if code is not None or fault is halt:
                scene.process = start(folder, *WORDS, *words, **setup_values["variables"])
            wait_for(lambda: acknowledged(folder) > before, seconds=300)
            took = time.monotonic() - start_time
            (record,) = by_key(folder).values()
            family |= descendants(scene.process.pid)
            epochs_of_run = [epoch.epoch for epoch in record.epochs]
            at = checkpoint_epochs[-2] if fault is spoil else checkpoint_epochs[-1]
            if code in (75, 130) or record.assignment.attempt == 1:
                at = (
                    before  # written when it was asked to end, as test_signals holds, or in the process still
                )
            return {
                "exit code": code,
                "s to the exit": None if code is None else round(seconds_to_exit, 1),
                "s to the next new epoch": round(took, 1),
                "epochs acknowledged": before,
                "trained twice, at most": max(0, before - at),
                "attempt": record.assignment.attempt,
                "whole": epochs_of_run == list(range(1, len(epochs_of_run) + 1)),
            }
        finally:
            for process in (first, scene.process):
                process.kill()
                process.communicate()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What each fault costs a study.")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = {}
    for name in FAULTS:
        with TemporaryDirectory(prefix="recovery", ignore_cleanup_errors=True) as folder:
            rows[name] = measure(name, Path(folder))
        print(f"{name}: {rows[name]}", flush=True)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(rows, indent=1))
    return int(not all(row["whole"] for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
