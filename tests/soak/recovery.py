"""What each fault costs a study that it meets: seconds until the next new epoch, and epochs trained twice.

    python tests/soak/recovery.py [--json FILE]

One tiny study for each fault, with a checkpoint every 0.2 s. Where the fault ends the sweep, it is begun
again at once; the time holds the whole start of Python, Ray and the trial.
"""

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from running import descendants, of_trials, start, wait_for, write_space
from staging import FIXED, OFTEN, by_key, checkpoints

ENDLESS = ("epochs = 2\n", "epochs = 100_000\n")
LOCKED = 5.0
"""Seconds for which the ledger is."""
Fault = Callable[["subprocess.Popen[str]", Path], None]


def kill_trial(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Of a trial, its process."""
    os.kill(of_trials(process.pid)[0], signal.SIGKILL)


def kill_worker(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Of a trial on two Ray Train workers, one."""
    workers = [pid for pid, line in descendants(process.pid).items() if "RayTrainWorker" in line]
    os.kill(workers[-1], signal.SIGKILL)


def kill_driver(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Of the sweep, the process."""
    process.kill()


def terminate(process: "subprocess.Popen[str]", folder: Path) -> None:
    """As `ray job stop` does."""
    process.send_signal(signal.SIGTERM)


def interrupt(process: "subprocess.Popen[str]", folder: Path) -> None:
    """As Ctrl-C does."""
    process.send_signal(signal.SIGINT)


def lock(process: "subprocess.Popen[str]", folder: Path) -> None:
    """For some seconds, the ledger."""
    with contextlib.closing(sqlite3.connect(folder / "studies/tiny/ledger.db", timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED)
        other.rollback()


FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "SIGKILL of a trial's process": (kill_trial, ()),
    "SIGKILL of one of two Train workers": (kill_worker, ("--workers-per-trial", "2")),
    "SIGKILL of the driver": (kill_driver, ()),
    "SIGTERM to the driver": (terminate, ()),
    "SIGINT to the driver": (interrupt, ()),
    f"ledger locked for {LOCKED:g} s": (lock, ()),
}


def acknowledged(folder: Path) -> int:
    """Epochs in the ledger."""
    return sum(len(record.epochs) for record in by_key(folder).values())


def measure(fault: Fault, words: tuple[str, ...], folder: Path) -> dict[str, object]:
    """One study, one fault."""
    write_space(folder, ENDLESS, FIXED, OFTEN)
    process = start(folder, "sweep", "tiny.toml", "--concurrent", "1", *words)
    family: dict[int, str] = {}
    try:
        wait_for(lambda: checkpoints(folder), seconds=300)
        kept = max(json.loads(path.read_bytes())["epoch"] for path in checkpoints(folder))
        family = descendants(process.pid)
        began = time.monotonic()
        fault(process, folder)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1 if fault in (kill_trial, kill_worker, lock) else 60)
        ended, code = time.monotonic() - began, process.returncode
        before = acknowledged(folder)
        if code is not None:
            process.communicate()
            process = start(folder, "sweep", "tiny.toml", "--concurrent", "1", *words)
        wait_for(lambda: acknowledged(folder) > before, seconds=300)
        took = time.monotonic() - began
        (record,) = by_key(folder).values()
        family |= descendants(process.pid)
        told = [epoch.epoch for epoch in record.epochs]
        if code in (75, 130) or record.assignment.attempt == 1:
            kept = before  # written when it was asked to end, as test_signals holds, or still in the process
        return {
            "exit code": code,
            "s to the exit": None if code is None else round(ended, 1),
            "s to the next new epoch": round(took, 1),
            "epochs acknowledged": before,
            "trained twice, at most": max(0, before - kept),
            "attempt": record.assignment.attempt,
            "whole": told == list(range(1, len(told) + 1)),
        }
    finally:
        process.kill()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What each fault costs a study.")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = {}
    for name, (fault, words) in FAULTS.items():
        with TemporaryDirectory(prefix="recovery") as folder:
            rows[name] = measure(fault, words, Path(folder))
        print(f"{name}: {rows[name]}", flush=True)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rows, indent=1))
    return int(not all(row["whole"] for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
