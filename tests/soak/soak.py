"""Digits studies for a while, with a fault every 20 to 40 seconds; what was lost is counted.

    python tests/soak/soak.py [--minutes 30] [--seed 0] [--json FILE]

A tracking server, and one study after another; each is begun again until it ends by itself. Then the ledger
is held against what had been acknowledged before each fault, and against MLflow. Exit code 1 where anything
was lost, doubled or left open.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from optuna.exceptions import StorageInternalError
from running import (
    free_port,
    mlflow_server,
    of_trials,
    records,
    run,
    start,
    stop_group,
    write_space,
)
from sqlalchemy.exc import SQLAlchemyError

from lpstudy.ledger import UnwritableError
from lpstudy.outputs import EpochResult

SPACE = (
    ("epochs = 2\n", "epochs = 400\n"),
    ("trials = 1", "trials = 4"),
    ("seeds = 1", "seeds = 2"),
    ("[methods.bp]", "[methods.bp]\n[methods.lp]\nn_neighbors = 3"),
    ("checkpoint_seconds = 0.0", "checkpoint_seconds = 1.0"),
)
RUNS = 12
"""Two arms of four trials and two finals."""
GOES_ON = (74, 75, 130, -9, -15)
"""Ways for a sweep to end after which it is begun again."""
REFUSED = "no tracking server answers"
"""Said by a start while the server is away."""
AWAY = 5.0
"""Seconds that a server or a process is away, a ledger locked."""

Acknowledged = dict[tuple[str, int], EpochResult]


class Soak:
    """The studies, what is done to them, and what was seen.

    Args:
        folder: For everything.
        seed: Of the faults and their moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.port = free_port()
        self.next_fault = self._moment()
        self.faults: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.recovery: list[float] = []
        """Seconds from a sweep's end by a fault to the first new epoch after it."""
        self.server = self._server()
        self.process: subprocess.Popen[str] | None = None
        self.acknowledged: Acknowledged = {}

    def _server(self) -> tuple[contextlib.AbstractContextManager[object], "subprocess.Popen[bytes]"]:
        context = mlflow_server(self.folder / "server", self.port)
        return context, context.__enter__()

    @property
    def variables(self) -> dict[str, str]:
        """Of every command."""
        return {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.port}"}

    def study(self, name: str, until: float) -> None:
        """One study to its end; after `until` without more faults."""
        folder = self.folder / name
        folder.mkdir()
        write_space(folder, *SPACE)
        self.acknowledged = {}
        self.process, ended_at, before, begun = self._begin(folder), 0.0, 0, 1
        while True:
            time.sleep(0.5)
            code = self.process.poll()
            if code is not None:
                out, err = self.process.communicate()
                if code == 0:
                    break
                if code == 2 and REFUSED in err:
                    self.seen["starts refused while the server was away"] += 1
                elif code not in GOES_ON:
                    self.seen["unexpected ends"] += 1
                    print(f"{name}: exit {code}\n{out[-500:]}\n{err[-2000:]}", flush=True)
                    if self.seen["unexpected ends"] > 20:
                        raise RuntimeError("the studies do not run")
                ended_at, before = time.monotonic(), len(self._look(folder))
                if code == 74:
                    run(folder, "__main__", "reconcile", "tiny", **self.variables)
                self.process = self._begin(folder)
                begun += 1
            elif ended_at and len(self._look(folder)) > before:
                self.recovery.append(time.monotonic() - ended_at)
                ended_at = 0.0
            if self.next_fault <= time.monotonic() < until:
                self._look(folder)
                self._strike(folder)
                self.next_fault = self._moment()
        self.seen["sweeps begun"] += begun
        self._check(folder)

    def _begin(self, folder: Path) -> "subprocess.Popen[str]":
        return start(folder, "sweep", "tiny.toml", "--grace", "20", **self.variables)

    def _moment(self) -> float:
        return time.monotonic() + self.draw.uniform(20, 40)

    def _look(self, folder: Path) -> Acknowledged:
        """What the ledger has acknowledged by now; each of it must be there at the end."""
        with contextlib.suppress(ValueError, UnwritableError, SQLAlchemyError, StorageInternalError):
            for record in records(folder, "tiny"):
                for epoch in record.epochs:
                    self.acknowledged.setdefault((record.assignment.key, epoch.epoch), epoch)
        return self.acknowledged

    def _strike(self, folder: Path) -> None:
        fault: Callable[[Path], None] = self.draw.choice(
            [
                self._kill_driver,
                self._terminate_driver,
                self._interrupt_driver,
                self._kill_trial,
                self._halt_driver,
                self._lose_server,
                self._spoil_checkpoint,
                self._lock_ledger,
                self._pause_and_resume,
            ]
        )
        self.faults[fault.__name__.strip("_").replace("_", " ")] += 1
        with contextlib.suppress(ProcessLookupError):
            fault(folder)

    def _pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def _kill_driver(self, folder: Path) -> None:
        os.kill(self._pid(), signal.SIGKILL)

    def _terminate_driver(self, folder: Path) -> None:
        os.kill(self._pid(), signal.SIGTERM)

    def _interrupt_driver(self, folder: Path) -> None:
        os.kill(self._pid(), signal.SIGINT)

    def _kill_trial(self, folder: Path) -> None:
        for pid in of_trials(self._pid())[:1]:
            os.kill(pid, signal.SIGKILL)

    def _halt_driver(self, folder: Path) -> None:
        os.kill(self._pid(), signal.SIGSTOP)
        time.sleep(AWAY)
        os.kill(self._pid(), signal.SIGCONT)

    def _lose_server(self, folder: Path) -> None:
        stop_group(self.server[1])
        time.sleep(AWAY)
        self.server = self._server()

    def _spoil_checkpoint(self, folder: Path) -> None:
        for path in sorted(folder.glob("studies/tiny/runs/*/*/checkpoint-*.safetensors"))[-1:]:
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                path.write_bytes(content[: len(content) // 2])
        self._kill_trial(folder)

    def _lock_ledger(self, folder: Path) -> None:
        path = folder / "studies/tiny/ledger.db"
        if path.exists():
            connection = sqlite3.connect(path, timeout=30)
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(AWAY)
            connection.rollback()
            connection.close()

    def _pause_and_resume(self, folder: Path) -> None:
        for command in ("pause", "resume"):
            run(folder, "__main__", command, "tiny", **self.variables)

    def _check(self, folder: Path) -> None:
        """Hold what there is against what had been acknowledged, and MLflow against the ledger."""
        found = records(folder, "tiny")
        epochs = {(r.assignment.key, e.epoch): e for r in found for e in r.epochs}
        self.seen["studies finished"] += 1
        self.seen["runs"] += len(found)
        self.seen["acknowledged epochs"] += len(self.acknowledged)
        self.seen["results lost"] += sum(epochs.get(key) != told for key, told in self.acknowledged.items())
        self.seen["runs missing"] += max(0, RUNS - len(found))
        self.seen["runs twice"] += len(found) - len({r.assignment.key for r in found})
        self.seen["runs unfinished"] += sum(r.state == "running" for r in found)
        self.seen["runs failed"] += sum(r.state == "failed" for r in found)
        for record in found:
            if record.state == "failed":
                print(f"{folder.name} {record.assignment.key}: failed: {record.cause}", flush=True)
        left = run(folder, "__main__", "reconcile", "tiny", "--check", "--json", **self.variables)
        differences = json.loads(left.out)["differences"] if left.out else [left.err]
        self.seen["runs that differ in MLflow"] += len(differences)
        for one in differences:
            print(f"{folder.name}: {one}", flush=True)
        status = json.loads(run(folder, "__main__", "status", "tiny", "--json").out)
        self.seen["studies not finished by status"] += status["state"] != "finished"

    def close(self) -> None:
        """End the server."""
        stop_group(self.server[1])


def load() -> dict[str, int]:
    """What a leak would raise: open files of the system, its processes of Ray, its used memory in MB."""
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    used = int(memory["MemTotal"].split()[0]) - int(memory["MemAvailable"].split()[0])
    ray = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _is_ray(p)]
    files = int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
    return {"open files": files, "Ray processes": len(ray), "memory MB": used // 1024}


def _is_ray(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return b"raylet" in path.read_bytes() or b"gcs_server" in path.read_bytes()
    return False


BAD = (
    "results lost",
    "runs missing",
    "runs twice",
    "runs unfinished",
    "runs that differ in MLflow",
    "studies not finished by status",
    "unexpected ends",
)


def main() -> int:
    """Run, print, write; 1 where something was lost."""
    parser = argparse.ArgumentParser(description="Digits studies under faults.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    before, began = load(), time.monotonic()
    until = began + 60 * given.minutes
    with TemporaryDirectory(prefix="soak") as name:
        os.environ["LPSTUDY_CACHE"] = str(Path(name) / "cache")
        soak = Soak(Path(name), given.seed)
        try:
            number = 0
            while time.monotonic() < until:
                soak.study(f"study{number}", until)
                number += 1
                said = f"{dict(soak.faults)}, {dict(soak.seen)}"
                print(f"{(time.monotonic() - began) / 60:.1f} min: {said}", flush=True)
        finally:
            soak.close()
    time.sleep(5)
    results = {
        "minutes": (time.monotonic() - began) / 60,
        "faults": dict(soak.faults),
        "seen": dict(soak.seen),
        "recovery seconds": sorted(round(value, 1) for value in soak.recovery),
        "before": before,
        "after": load(),
    }
    print(json.dumps(results, indent=1))
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(results, indent=1))
    return int(any(soak.seen[what] for what in BAD))


if __name__ == "__main__":
    sys.exit(main())
