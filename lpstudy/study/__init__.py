"""Ray Tune and Ray Train run what the ledger hands out."""

from lpstudy.study.cluster import (
    Capacity,
    Demand,
    Node,
    Place,
    concurrent_trials,
    gpu_name,
    machines,
    nodes,
    own_cpus,
    resources,
    settled,
)
from lpstudy.study.cluster_address import cluster_address
from lpstudy.study.control import Control, PausedError
from lpstudy.study.filling import Filling, fill_bank
from lpstudy.study.machine import check_machine
from lpstudy.study.ray_watch import kill_own_processes, watching
from lpstudy.study.run import run, run_folder, train_teacher
from lpstudy.study.session import JOB, session
from lpstudy.study.sharing import check_shared
from lpstudy.study.tasks import TaskError

__all__ = [
    "JOB",
    "Capacity",
    "Control",
    "Demand",
    "Filling",
    "Node",
    "PausedError",
    "Place",
    "TaskError",
    "check_machine",
    "check_shared",
    "cluster_address",
    "concurrent_trials",
    "fill_bank",
    "gpu_name",
    "kill_own_processes",
    "machines",
    "nodes",
    "own_cpus",
    "resources",
    "run",
    "run_folder",
    "session",
    "settled",
    "train_teacher",
    "watching",
]
