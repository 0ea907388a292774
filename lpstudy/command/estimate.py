"""An estimate of a sweep's duration, from timed steps and measured constants."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

IMPORT_SECONDS = 7.0
"""Time for a sweep to import its modules and read its data.

This and the following constants are seconds of the digits study on 2 cores, one trial on each (Intel Xeon
with AMX, November 2026); `slowness` scales them."""
RAY_SECONDS = 6.5
"""Time to start Ray."""
PROCESS_SECONDS = 5.0
"""Time for a Ray process, for the teacher or its outputs, to import its modules."""
TRIALS_SECONDS = 8.0
"""The same for the trials' processes, one per core, which start at once."""
RUN_SECONDS = 0.15
"""Overhead of a run besides its setup, epochs and test: scheduling, reports, the ledger."""
DRIVER_SECONDS = 0.3
"""CPU time of the sweep and of Ray's own processes per run, which trials on all cores have to share."""
REPORT_SECONDS = 8.5
"""Time for figures and report, and for ending Ray."""
REFERENCE_SECONDS = 0.03
"""Time of `_work` on that machine."""
REPEATS = 10
"""Repetitions of `_work`, so that the load of other processes counts."""


@dataclass(frozen=True, slots=True)
class ArmSeconds:
    """The seconds of an arm's trial and final, and the number of runs of each kind."""

    trial: float
    final: float
    trials: int
    finals: int
    candidates: int = 0
    """Runs of candidates, each as long as a trial."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The capacity and speed of the machine on which the runs train."""

    at_once: int
    """The number of concurrent runs."""
    cores: float
    slowness: float = 1.0
    """The factor by which it is slower than the machine on which the constants were measured."""

    def side_by_side(self, seconds: float, runs: int) -> float:
        """Wall seconds of concurrent runs that take so many seconds in total."""
        total = seconds + runs * RUN_SECONDS * self.slowness
        cpu_bound = (total + runs * DRIVER_SECONDS * self.slowness) / self.cores
        return max(total / self.at_once, cpu_bound)


def estimate(
    machine: Machine, *, teacher: float | None, outputs: float | None, arms: list[ArmSeconds]
) -> Mapping[str, float]:
    """Wall seconds of each part of a sweep.

    Args:
        machine: The machine on which it runs.
        teacher: Seconds of the teacher's training; None if the user gives its weights.
        outputs: Seconds to compute the teacher's outputs on all cores; None if none are stored.
        arms: The seconds and runs of each arm.
    """
    process = PROCESS_SECONDS * machine.slowness
    trials = sum(arm.trial * arm.trials for arm in arms), sum(arm.trials for arm in arms)
    candidates = sum(arm.trial * arm.candidates for arm in arms), sum(arm.candidates for arm in arms)
    finals = sum(arm.final * arm.finals for arm in arms), sum(arm.finals for arm in arms)
    return {
        "starting": (IMPORT_SECONDS + RAY_SECONDS) * machine.slowness,
        "teacher": process + (teacher or 0.0),
        "teacher's outputs": 0.0 if outputs is None else process + outputs,
        "trials": TRIALS_SECONDS * machine.slowness + machine.side_by_side(*trials),
        "candidates": machine.side_by_side(*candidates),
        "finals": machine.side_by_side(*finals),
        "report": REPORT_SECONDS * machine.slowness,
    }


def slowness() -> float:
    """The factor by which this machine runs Python slower than the one of the constants."""
    started_at = time.perf_counter()
    for _ in range(REPEATS):
        _work()
    return (time.perf_counter() - started_at) / REPEATS / REFERENCE_SECONDS


def _work() -> int:
    """Run Python code like that of imports: dictionaries, strings, small functions."""
    names: dict[str, int] = {}
    for number in range(100_000):
        name = f"name {number % 1000}"
        names[name] = names.get(name, 0) + number
    return len(names)
