"""Ray Tune and Ray Train run what the ledger hands out."""

from lpstudy.study.cluster import Demand, concurrent_trials, own_cpus, resources, session
from lpstudy.study.run import Place, run, run_folder, train_teacher

__all__ = [
    "Demand",
    "Place",
    "concurrent_trials",
    "own_cpus",
    "resources",
    "run",
    "run_folder",
    "session",
    "train_teacher",
]
