"""About how long a sweep takes: its runs, by timed steps, and all that it does beside them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

IMPORT_SECONDS = 7.0
"""Until a sweep has imported what it needs and read its data.

This and what follows are seconds of the digits study on 2 cores, a trial on each (Intel Xeon with AMX,
November 2026); `slowness` scales them."""
RAY_SECONDS = 6.5
"""To start Ray."""
PROCESS_SECONDS = 5.0
"""Until a process of Ray's, for the teacher or its outputs, has imported what it needs."""
TRIALS_SECONDS = 8.0
"""The same for the processes of the trials, one a core, which start side by side."""
RUN_SECONDS = 0.15
"""Of a run beside its setup, its epochs and its test: handed out, reported, written."""
DRIVER_SECONDS = 0.3
"""CPU time of the sweep and of Ray's own processes for a run: trials on all cores have to share them."""
REPORT_SECONDS = 8.5
"""For figures and report, and to end Ray."""
REFERENCE_SECONDS = 0.03
"""Of `_work` on that machine."""
REPEATS = 10
"""Of `_work`, so that other processes show."""


@dataclass(frozen=True, slots=True)
class ArmSeconds:
    """What an arm takes: seconds of a trial and of a final, and how many of each."""

    trial: float
    final: float
    trials: int
    finals: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the runs are."""

    at_once: int
    """Runs."""
    cores: float
    slowness: float = 1.0
    """How many times as long it takes as the machine on which the constants were measured."""

    def side_by_side(self, seconds: float, runs: int) -> float:
        """Wall seconds of so many runs that take so many seconds together."""
        alone = seconds + runs * RUN_SECONDS * self.slowness
        shared = (alone + runs * DRIVER_SECONDS * self.slowness) / self.cores
        return max(alone / self.at_once, shared)


def estimate(
    machine: Machine, *, teacher: float | None, outputs: float | None, arms: list[ArmSeconds]
) -> Mapping[str, float]:
    """Wall seconds of each part of a sweep.

    Args:
        machine: Where it runs.
        teacher: Of its training; None where its weights are given.
        outputs: To compute them on all cores; None where none are kept.
        arms: What each takes.
    """
    process = PROCESS_SECONDS * machine.slowness
    trials = sum(arm.trial * arm.trials for arm in arms), sum(arm.trials for arm in arms)
    finals = sum(arm.final * arm.finals for arm in arms), sum(arm.finals for arm in arms)
    return {
        "starting": (IMPORT_SECONDS + RAY_SECONDS) * machine.slowness,
        "teacher": process + (teacher or 0.0),
        "teacher's outputs": 0.0 if outputs is None else process + outputs,
        "trials": TRIALS_SECONDS * machine.slowness + machine.side_by_side(*trials),
        "finals": machine.side_by_side(*finals),
        "report": REPORT_SECONDS * machine.slowness,
    }


def slowness() -> float:
    """How many times as long this machine takes for some Python as the one of the constants."""
    began = time.perf_counter()
    for _ in range(REPEATS):
        _work()
    return (time.perf_counter() - began) / REPEATS / REFERENCE_SECONDS


def _work() -> int:
    """Some Python of the kind that imports consist of: dictionaries, strings, small functions."""
    names: dict[str, int] = {}
    for number in range(100_000):
        name = f"name {number % 1000}"
        names[name] = names.get(name, 0) + number
    return len(names)
