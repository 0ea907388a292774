"""Ray Tune and Ray Train run what the ledger hands out."""

from lpstudy.study.bank_tasks import BankProgress, fill_bank
from lpstudy.study.cluster import (
    Capacity,
    Node,
    StudyPaths,
    TrialResources,
    cluster_resources,
    concurrent_trials,
    gpu_name,
    machines,
    nodes,
    own_cpus,
    with_resolved_precision,
)
from lpstudy.study.cluster_address import cluster_address
from lpstudy.study.control import PausedError, StudyControl
from lpstudy.study.machine import check_machine
from lpstudy.study.ray_watch import kill_own_processes, watching
from lpstudy.study.restarting_task import TaskError
from lpstudy.study.run import run, run_folder, train_teacher
from lpstudy.study.session import JOB, ray_session
from lpstudy.study.shared_folders import check_shared

__all__ = [
    "JOB",
    "BankProgress",
    "Capacity",
    "Node",
    "PausedError",
    "StudyControl",
    "StudyPaths",
    "TaskError",
    "TrialResources",
    "check_machine",
    "check_shared",
    "cluster_address",
    "cluster_resources",
    "concurrent_trials",
    "fill_bank",
    "gpu_name",
    "kill_own_processes",
    "machines",
    "nodes",
    "own_cpus",
    "ray_session",
    "run",
    "run_folder",
    "train_teacher",
    "watching",
    "with_resolved_precision",
]
