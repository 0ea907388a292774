"""The task that trains a study's teacher, restarted from its checkpoint if its process is lost."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from lpstudy.data import Data, DataSpec, load
from lpstudy.outputs import EpochResult
from lpstudy.ray_cluster.cluster import QUERY_SECONDS, cluster_resources, machines, smallest_node
from lpstudy.ray_cluster.restarting_task import RestartingTask, task
from lpstudy.space import ImportedCode, ShiftSettings, TeacherSpec, load_all
from lpstudy.study.control import IMMEDIATE_REQUESTS, ControlReader, StudyControl
from lpstudy.study.resources import cpus_per_gpu_share
from lpstudy.study.run_epochs import device_of
from lpstudy.study.run_job import StudyInputs, newest_checkpoint
from lpstudy.teacher import TrainedTeacher, load_or_train, measured, teacher_folder


@dataclass(frozen=True, slots=True)
class TeacherTask:
    """All that a task needs to run the teacher."""

    imported: tuple[ImportedCode, ...]
    data: str
    """The data set's settings as JSON."""
    root: str | None
    teacher: str
    """The teacher's settings as JSON."""
    gpus: float
    shift: str
    """On which shifted images it is measured, as JSON."""

    def load(self) -> tuple[Data, TeacherSpec]:
        """The data, and the teacher's settings."""
        load_all(self.imported)
        data = load(DataSpec.model_validate_json(self.data), root=Path(self.root) if self.root else None)
        return data, TeacherSpec.model_validate_json(self.teacher)


def teacher_task(study: StudyInputs, teacher: TeacherSpec, gpus: float) -> TeacherTask:
    """The task of a study's teacher with these settings."""
    root = study.paths.data_root
    data = study.spec.data.model_dump_json()
    shift = study.spec.shift.model_dump_json()
    folder = str(root) if root else None
    return TeacherTask(study.imported, data, folder, teacher.model_dump_json(), gpus, shift)


def train_teacher(
    study: StudyInputs, control: StudyControl, *, gpus: float
) -> Iterator[EpochResult | TrainedTeacher]:
    """Train the teacher in a task: see `Backend.train_teacher`.

    Args:
        study: The study.
        control: The study's current request.
        gpus: GPUs per trial; with any, the teacher has at most one.
    """
    share = min(1.0, cluster_resources()[1]) if gpus else 0.0
    teacher = teacher_task(study, study.teacher_spec(), share)
    control_reader = ControlReader(control.folder.url, control.token, ("stop", *IMMEDIATE_REQUESTS))
    requested_cpus = newest_epoch = 0

    def start() -> Any:
        nonlocal requested_cpus
        requested_cpus = cpus_per_gpu_share(share, machines()) if share else smallest_node()
        return task(_teach, cpus=requested_cpus, gpus=share).remote(teacher, control_reader)

    def is_new(result: EpochResult | TrainedTeacher) -> bool:
        nonlocal newest_epoch
        if isinstance(result, TrainedTeacher):
            return True
        previous_epoch, newest_epoch = newest_epoch, max(newest_epoch, result.epoch)
        return newest_epoch > previous_epoch

    folder = teacher_folder(study.spec.teacher, study.data)
    task_results = RestartingTask(start, is_new, lambda: newest_checkpoint(folder))
    with suppress(StopIteration):
        while True:
            if not ray.wait([task_results.results], timeout=QUERY_SECONDS, fetch_local=False)[0]:
                if (
                    not share
                    and not any(node.cpus >= requested_cpus for node in machines())
                    and smallest_node() < requested_cpus
                ):
                    task_results.restart()  # its large nodes have left the cluster, smaller ones have joined
            elif (result := task_results.next()) is not None:
                yield result
    control.check()


def _teach(teacher: TeacherTask, poll: ControlReader) -> Iterator[EpochResult | TrainedTeacher]:
    data, spec = teacher.load()
    device = device_of(gpus=teacher.gpus)
    data = ShiftSettings.model_validate_json(teacher.shift).apply(data)
    results = load_or_train(spec, data, device=device, gpus=teacher.gpus, poll=poll)
    yield from measured(results, spec, data, device=device)
