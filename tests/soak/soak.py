"""Studies of the digits with a fault every 20 to 40 seconds, and the count of lost results.

    python tests/soak/soak.py [--minutes 30] [--seed 0] [--json FILE]

A tracking server and one study after another, the first without faults. A study is restarted until it ends by
itself. Its ledger is then compared with the epochs acknowledged before each fault, with the ledger of the
first study, and with MLflow. Exit code 1 if anything is lost, changed, duplicated or still open.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from lpstudy.spending import MEASURED

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

import pandas as pd
from commands import records, run, start, write_study
from mlflow.tracking import MlflowClient
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError
from staging import exported_frames
from strikes import Strikes

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
"""Number of runs: two arms with four trials and two finals each."""
GOES_ON = (74, 75, 130, -9, -15)
"""Ends of a sweep after which it is started again."""
REFUSED = "no tracking server answers"
"""Messages of a start while the server is stopped."""
Acknowledged = dict[tuple[str, int], EpochResult]


class Soak:
    """Studies under random faults, and the counts of what was lost.

    Args:
        folder: The folder of all files.
        seed: Of the faults and their moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.strikes = folder, Strikes(folder, seed)
        self.seen: Counter[str] = Counter()
        self.recovery: list[float] = []
        """Seconds from a sweep's end by a fault to the first new epoch after it."""
        self.process: subprocess.Popen[str] | None = None
        self.acknowledged: Acknowledged = {}
        self.reference: Path | None = None
        """The tables of the undisturbed study."""

    def study(self, name: str, until: float) -> None:
        """Run one study to its end; after `until` without more faults."""
        folder = self.folder / name
        folder.mkdir()
        write_study(folder, *SPACE)
        self.acknowledged = {}
        self.process, ended_at, before, starts = self._begin(folder), 0.0, 0, 1
        while True:
            time.sleep(0.5)
            code = self.process.poll()
            if code is not None:
                out, err = self.process.communicate()
                if code == 0:
                    break
                if code == 2 and REFUSED in err and not (folder / "studies/tiny/ledger.db").exists():
                    self.seen["first starts refused while the server was away"] += 1
                elif code not in GOES_ON:
                    self.seen["unexpected ends"] += 1
                    print(f"{name}: exit {code}\n{out[-500:]}\n{err[-2000:]}", flush=True)
                    if self.seen["unexpected ends"] > 20:
                        raise RuntimeError("the studies do not run")
                ended_at, before = time.monotonic(), len(self._look(folder))
                if code == 74:
                    run(folder, "__main__", "reconcile", "tiny", **self.strikes.variables)
                self.process = self._begin(folder)
                starts += 1
            elif ended_at and len(self._look(folder)) > before:
                self.recovery.append(time.monotonic() - ended_at)
                ended_at = 0.0
            if self.strikes.next <= time.monotonic() < until and self.reference is not None:
                self._look(folder)
                self.strikes.one(self.process.pid, folder)
        self.seen["sweeps started"] += starts
        self._check(folder)
        if self.reference is None:
            self.reference = folder
            self.strikes.wait()
        elif differs := self._differs(folder):
            self.seen["studies unlike the undisturbed one"] += 1
            print(f"{name}: {differs}", flush=True)

    def _differs(self, folder: Path) -> str:
        """The differences of runs, epochs and comparison to the undisturbed study."""
        assert self.reference is not None
        mine, other = exported_frames(folder), exported_frames(self.reference)
        mine["comparison"], other["comparison"] = (
            pd.read_csv(each / "reports/tiny/comparison.csv") for each in (folder, self.reference)
        )
        for kind, frame in mine.items():
            changing = ("warnings", "mlflow_run_id", *MEASURED)
            dropped = [name for name in frame if name in changing or "seconds" in name]
            try:
                pd.testing.assert_frame_equal(
                    frame.drop(columns=dropped), other[kind].drop(columns=dropped), check_exact=True
                )
            except AssertionError as error:
                return f"{kind}: {' '.join(str(error).split())[:300]}"
        return ""

    def _begin(self, folder: Path) -> "subprocess.Popen[str]":
        return start(
            folder, "sweep", "tiny.toml", "--grace", "20", "--concurrent", "1", **self.strikes.variables
        )

    def _look(self, folder: Path) -> Acknowledged:
        """Store the acknowledged epochs of the ledger, which must exist at the end."""
        with contextlib.suppress(ValueError, UnwritableError, SQLAlchemyError, StorageInternalError):
            for record in records(folder, "tiny"):
                for epoch in record.epochs:
                    self.acknowledged.setdefault((record.assignment.key, epoch.epoch), epoch)
        return self.acknowledged

    def _check(self, folder: Path) -> None:
        """Check the ledger against the acknowledged epochs, and MLflow against the ledger."""
        ledger_records = records(folder, "tiny")
        epochs = {(r.assignment.key, e.epoch): e for r in ledger_records for e in r.epochs}
        self.seen["studies finished"] += 1
        self.seen["runs"] += len(ledger_records)
        self.seen["acknowledged epochs"] += len(self.acknowledged)
        self.seen["results lost"] += sum(
            epochs.get(key) != result for key, result in self.acknowledged.items()
        )
        self.seen["runs missing"] += max(0, RUNS - len(ledger_records))
        self.seen["runs twice"] += len(ledger_records) - len({r.assignment.key for r in ledger_records})
        self.seen["runs unfinished"] += sum(r.state == "running" for r in ledger_records)
        self.seen["runs failed"] += sum(r.state == "failed" for r in ledger_records)
        for record in ledger_records:
            if record.state == "failed":
                print(f"{folder.name} {record.assignment.key}: failed: {record.cause}", flush=True)
        check = run(folder, "__main__", "reconcile", "tiny", "--check", "--json", **self.strikes.variables)
        differences = json.loads(check.out)["differences"] if check.out else [check.err]
        self.seen["runs that differ in MLflow"] += len(differences)
        for one in differences:
            print(f"{folder.name}: {one}", flush=True)
        client = MlflowClient(tracking_uri=self.strikes.variables["MLFLOW_TRACKING_URI"])
        experiment = client.get_experiment_by_name("lpstudy/tiny")
        open_ = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
        self.seen["runs left open in MLflow"] += len(open_)
        status = json.loads(run(folder, "__main__", "status", "tiny", "--json").out)
        self.seen["studies not finished by status"] += status["state"] != "finished"


def load() -> dict[str, int]:
    """Figures that a leak raises: open files, processes of Ray, and memory in MB."""
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    kinds = {"anonymous": "AnonPages", "shared": "Shmem", "kernel's": "SUnreclaim"}
    used = {f"{name} memory MB": int(memory[key].split()[0]) // 1024 for name, key in kinds.items()}
    ray = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _is_ray(p)]
    files = int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
    return {"open files": files, "Ray processes": len(ray)} | used


def _is_ray(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return b"raylet" in path.read_bytes() or b"gcs_server" in path.read_bytes()
    return False


BAD = (
    "results lost",
    "runs missing",
    "runs twice",
    "runs unfinished",
    "runs failed",
    "runs that differ in MLflow",
    "runs left open in MLflow",
    "studies unlike the undisturbed one",
    "studies not finished by status",
    "unexpected ends",
)


def main() -> int:
    """Run the studies, print and write the counts; returns 1 if something was lost."""
    parser = argparse.ArgumentParser(description="Digits studies under faults.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    before, start_time = load(), time.monotonic()
    until = start_time + 60 * args.minutes
    with TemporaryDirectory(prefix="soak") as name:
        os.environ["LPSTUDY_CACHE"] = str(Path(name) / "cache")
        soak = Soak(Path(name), args.seed)
        try:
            number = 0
            while time.monotonic() < until:
                soak.study(f"study{number}", until)
                number += 1
                counts = f"{dict(soak.strikes.seen)}, {dict(soak.seen)}"
                print(f"{(time.monotonic() - start_time) / 60:.1f} min: {counts}", flush=True)
        finally:
            soak.strikes.close()
    time.sleep(5)
    results = {
        "minutes": (time.monotonic() - start_time) / 60,
        "faults": dict(soak.strikes.seen),
        "seen": dict(soak.seen),
        "recovery seconds": sorted(round(value, 1) for value in soak.recovery),
        "before": before,
        "after": load(),
    }
    print(json.dumps(results, indent=1))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))
    return int(any(soak.seen[what] for what in BAD))


if __name__ == "__main__":
    sys.exit(main())
