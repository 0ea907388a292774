"""The driver of a study's runs, and the backend interface; Ray's backend is in `lpstudy.ray_cluster`."""

from lpstudy.study.backend import Backend, TaskError
from lpstudy.study.bank_filling import BankProgress, bank_spending, fill_bank
from lpstudy.study.control import PausedError, StudyControl
from lpstudy.study.driver import Driver, run_all
from lpstudy.study.inprocess import InProcess
from lpstudy.study.resources import (
    Node,
    TrialResources,
    concurrent_trials,
    own_cpus,
    this_machine,
)
from lpstudy.study.run_job import RunJob, RunJobs, StudyContext, StudyInputs, StudyPaths, run_folder

__all__ = [
    "Backend",
    "BankProgress",
    "Driver",
    "InProcess",
    "Node",
    "PausedError",
    "RunJob",
    "RunJobs",
    "StudyContext",
    "StudyControl",
    "StudyInputs",
    "StudyPaths",
    "TaskError",
    "TrialResources",
    "bank_spending",
    "concurrent_trials",
    "fill_bank",
    "own_cpus",
    "run_all",
    "run_folder",
    "this_machine",
]
