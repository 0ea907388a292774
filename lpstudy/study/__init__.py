"""Ray Tune and Ray Train run what the ledger hands out."""

from lpstudy.study.cluster import Demand, Place, concurrent_trials, own_cpus, resources, session, settled
from lpstudy.study.filling import Filling, fill_bank
from lpstudy.study.run import run, run_folder, train_teacher

__all__ = [
    "Demand",
    "Filling",
    "Place",
    "concurrent_trials",
    "fill_bank",
    "own_cpus",
    "resources",
    "run",
    "run_folder",
    "session",
    "settled",
    "train_teacher",
]
