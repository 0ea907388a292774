"""A backend without Ray: teacher, bank and runs are computed in this process, one after the other."""

import traceback
from bdb import BdbQuit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from lpstudy import environment
from lpstudy.ledger import Done, Waiting
from lpstudy.one_line import one_line
from lpstudy.outputs import EpochResult
from lpstudy.study.backend import Backend, TaskError
from lpstudy.study.control import IMMEDIATE_REQUESTS, ControlReader, StudyControl
from lpstudy.study.driver import Decision, Driver
from lpstudy.study.resources import TrialResources, concurrent_trials, own_cpus, this_machine
from lpstudy.study.run_end import describe_death, end_of
from lpstudy.study.run_epochs import device_of, load_inputs, run_reports
from lpstudy.study.run_job import RunJob, StudyInputs
from lpstudy.teacher import (
    Block,
    ComputedBlock,
    TrainedTeacher,
    bank_store,
    compute_blocks,
    load_or_train,
    measured,
    metered,
    open_teacher,
    teacher_chunk_size,
)
from lpstudy.training import DivergedError
from lpstudy.training.precision import has_bf16


class InProcess(Backend):
    """The backend of `--in-process`: for notebooks, debuggers and tests.

    Its numbers are those of Ray with `--concurrent 1`: a run computes on one thread, the teacher on one for
    each CPU, unless OMP_NUM_THREADS says otherwise.

    Raises:
        ValueError: The resources need more than one process or GPU.
    """

    def __init__(self, resources: TrialResources) -> None:
        super().__init__(resources)
        for flag, value, allowed in (
            ("--workers-per-trial", resources.workers_per_trial, (1,)),
            ("--concurrent", resources.concurrent or 1, (1,)),
            ("--gpus-per-trial", resources.gpus_per_trial, (0, 1)),
        ):
            if value not in allowed:
                words = " or ".join(map(str, allowed))
                raise ValueError(f"{flag} {value:g}: with --in-process it must be {words}")
        concurrent_trials(resources, [this_machine()])

    def capacity(self) -> int:
        """One run."""
        return 1

    def has_bf16(self) -> bool:
        """Whether the GPU, or this machine's CPU, multiplies bfloat16."""
        return has_bf16(torch.device("cuda" if self.resources.gpus_per_trial else "cpu"))

    def gpu_name(self) -> str:
        """The model of this machine's first GPU; empty if runs use the CPU."""
        return torch.cuda.get_device_name() if self.resources.gpus_per_trial else ""

    def train_teacher(
        self, study: StudyInputs, control: StudyControl
    ) -> Iterator[EpochResult | TrainedTeacher]:
        """Train the teacher in this process: see `Backend.train_teacher`."""
        reader = ControlReader(control.folder.url, control.token, ("stop", *IMMEDIATE_REQUESTS))
        with _threads(own_cpus()):
            gpus = self.resources.gpus_per_trial
            device = torch.device("cuda" if gpus else "cpu")
            try:
                data = study.spec.shift.apply(study.data)
                spec = study.teacher_spec()
                results = load_or_train(spec, data, device=device, gpus=gpus, poll=reader)
                yield from measured(results, spec, data, device=device)
            except (DivergedError, ValueError, OSError):
                raise
            except (MemoryError, RuntimeError) as error:
                raise TaskError(end_of(error).cause) from error
        control.check()

    def compute_blocks(
        self, study: StudyInputs, teacher: TrainedTeacher, missing: Sequence[Block]
    ) -> Iterator[ComputedBlock]:
        """Compute the bank's blocks in this process: see `Backend.compute_blocks`."""
        spec, data = self.resolve(study.spec.teacher), study.data
        with _threads(1):
            device = device_of(gpus=self.resources.gpus_per_trial)
            store = bank_store(study.plan, teacher, spec, data, device)
            network = open_teacher(teacher, spec, data, device=device)
            chunk_size = teacher_chunk_size(spec, data, device)
            try:
                blocks = compute_blocks(store, data, network, list(missing), chunk_size=chunk_size)
                yield from metered(blocks, network, gpus=self.resources.gpus_per_trial)
            except (MemoryError, RuntimeError) as error:
                raise TaskError(end_of(error).cause) from error

    def train_runs(self, driver: Driver) -> None:
        """Train the driver's runs one after the other: see `Backend.train_runs`."""
        try:
            while not isinstance(job := driver.next(at_most=1), Done):
                if isinstance(job, Waiting):
                    raise RuntimeError("the ledger waits for the end of a run, but none is running")
                with _threads(1):
                    while not self._train(driver, job):
                        pass
        finally:
            load_inputs.cache_clear()

    def _train(self, driver: Driver, job: RunJob) -> bool:
        """Train a run; returns False if it must be restarted."""
        try:
            for results, end in run_reports(job):
                if driver.on_report(job.key, results, end) is Decision.STOP:
                    break
        except BdbQuit as error:  # the user has left the debugger
            raise KeyboardInterrupt from error
        except Exception as error:  # of any kind: with Ray it would end the run's process
            self.say("".join(traceback.format_exception(error)).rstrip())
            return not driver.on_lost(job.key, describe_death(_last_line(error)))
        driver.on_end(job.key)
        return True


def _last_line(error: Exception) -> str:
    """The type and message of an error in one line, at most 300 characters."""
    return one_line("".join(traceback.format_exception_only(error)), 300)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """A context in which torch computes on so many threads, unless the environment sets their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(environment.threads() or count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
