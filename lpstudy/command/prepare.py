"""Everything that can be refused before anything is started."""

import tempfile
import uuid
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from lpstudy import study
from lpstudy.command.batch_norm import check_batch_norm
from lpstudy.command.starting_weights import StartingWeights, check_logits, starting_weights
from lpstudy.cost import cost_of
from lpstudy.data import Data, load, part_remarks, shared_cache
from lpstudy.disk import StorageError, is_storage_error
from lpstudy.folder import Folder, RemoteFolder
from lpstudy.outputs import Network, Outputs
from lpstudy.space import Arm, Scalar, StudySpec, Training, find_study_file, read_study_file
from lpstudy.space.ranges import Choices, Range, corners
from lpstudy.students import skeleton
from lpstudy.study import TrialResources
from lpstudy.teacher import BankPlan, input_of, plan_bank, teacher_folder, teacher_skeleton

MOST_SIZES = 256
"""Designs of a searched student that are looked at for the infeasible share."""


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    """A study whose file, data, networks and methods fit together."""

    spec: StudySpec
    data: Data
    plan: BankPlan
    """Which of the teacher's outputs are computed once."""
    weights: StartingWeights
    """What teacher and students start from."""
    remarks: tuple[str, ...] = ()
    """What the owner of the data should know of them, one line each."""


def prepare(arguments: Namespace) -> PreparedStudy:
    """Read and check a study with its overrides and data.

    Raises:
        ValueError: The first thing that is wrong, in one line.
        OSError: A file or folder cannot be read.
    """
    path = find_study_file(arguments.study)
    spec = read_study_file(path, trials=arguments.trials, epochs=arguments.epochs, seeds=arguments.seeds)
    data = load(spec.data, root=arguments.data_root, progress=True)
    cache = shared_cache()  # refused here where it is none; one that has the teacher may be one to be read
    if isinstance(cache, RemoteFolder) and not _has_teacher(spec, data):
        check_writable(cache)
    weights = starting_weights(spec, data)
    teacher = teacher_skeleton(spec.teacher, input_of(spec.teacher, data), data)
    for arm in spec.arms():
        _check_arm(arm, spec, data, teacher)
        check_logits(arm, teacher, weights)
    remarks = (*data.remarks, *part_remarks(data.train, data.validation, data.test))
    return PreparedStudy(spec, data, plan_bank(spec, data), weights, remarks)


def _has_teacher(spec: StudySpec, data: Data) -> bool:
    """Whether the cache has something of the study's teacher; false where it does not answer."""
    try:
        return teacher_folder(spec.teacher, data).exists()
    except StorageError:
        return False


def resources_of(args: Namespace, prepared: PreparedStudy) -> TrialResources:
    """What a trial may use, as the flags say it.

    Raises:
        ValueError: A GPU or a batch cannot be shared so; or this machine, where none is joined, has less.
    """
    resources = TrialResources(args.gpus_per_trial, args.workers_per_trial, args.concurrent)
    resources.check()
    train = len(prepared.data.train)
    for size in _batch_sizes(prepared.spec):
        short = f", of which the {train} training images fill one," if size > train else ""
        if min(size, train) % resources.workers_per_trial:
            raise ValueError(
                f"--workers-per-trial {resources.workers_per_trial}:"
                f" training.batch_size = {size}{short} is not divisible by it"
            )
        if min(size, train) == resources.workers_per_trial:
            setting = (
                f"--workers-per-trial {resources.workers_per_trial}: training.batch_size = {size}{short}"
            )
            _check_single_images(prepared, setting.rstrip(","))
    if study.cluster_address() is None:
        study.concurrent_trials(resources, study.machines())
    return resources


def _check_single_images(prepared: PreparedStudy, setting: str) -> None:
    for arm in prepared.spec.arms():
        for values in feasible_sizes(arm, prepared.spec, prepared.data):
            student = arm.student_spec(values)
            data = prepared.data
            network = skeleton(student, input_shape=data.input_shape, classes=data.classes)
            check_batch_norm(network, data.input_shape, student.label(), setting)


def _batch_sizes(spec: StudySpec) -> Iterable[int]:
    match spec.training.get("batch_size", Training().batch_size):
        case Range() as space:
            return space.integers()
        case Choices() as space:
            return [int(choice) for choice in space.choices]
        case size:
            return [int(size)]


def check_writable(folder: Folder | Path) -> None:
    """Make a folder and see that files can be written in it.

    Raises:
        ValueError, StorageError: They cannot.
    """
    if isinstance(folder, RemoteFolder):
        return _check_remote_writable(folder)
    path = Path(folder.url) if isinstance(folder, Folder) else folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _unusable(f"{folder}: cannot write there: {error.strerror or error}", error) from None


def _unusable(words: str, error: OSError) -> Exception:
    return StorageError(error.errno, words) if is_storage_error(error) else ValueError(words)


def _check_remote_writable(folder: RemoteFolder) -> None:
    name = f".writable-{uuid.uuid4().hex}"
    try:
        folder.write(name, name.encode())
        kept = folder.read(name)
        folder.remove(name)
    except OSError as error:
        raise ValueError(f"cannot write there: {error.strerror or error}") from None
    if kept != name.encode():
        raise ValueError(f"{folder}: does not return what is written to it")


def student_sizes(arm: Arm) -> list[dict[str, Scalar]]:
    """Depths and widths that an arm may ask for, thinned out where many; a design has one, empty."""
    found = list(arm.student.sizes())
    step = max(1, len(found) // MOST_SIZES)
    return found[::step]


def feasible_sizes(arm: Arm, spec: StudySpec, data: Data) -> list[dict[str, Scalar]]:
    """The sizes within the limits."""
    limits = spec.constraints
    fit = []
    for values in student_sizes(arm):
        cost = cost_of(arm.student_spec(values), input_shape=data.input_shape, classes=data.classes)
        over = (limits.max_macs is not None and cost.macs > limits.max_macs) or (
            limits.max_parameters is not None and cost.parameters > limits.max_parameters
        )
        if not over:
            fit.append(values)
    return fit


def _check_arm(arm: Arm, spec: StudySpec, data: Data, teacher: Network) -> None:
    try:
        fits = feasible_sizes(arm, spec, data)
    except ValueError as error:
        raise ValueError(f"students: {arm.student.label}: {error}") from None
    if not fits:
        size = cost_of(
            arm.student_spec(student_sizes(arm)[0]), input_shape=data.input_shape, classes=data.classes
        )
        raise ValueError(
            f"students: {arm.student.label}: no design is within [constraints];"
            f" the smallest has {size.macs:,} MACs and {size.parameters:,} parameters"
        )
    student = skeleton(arm.student_spec(fits[0]), input_shape=data.input_shape, classes=data.classes)
    for values in corners(arm.hyperparameters):
        method = arm.resolve(fits[0] | values, epochs=1, seed=0).method
        try:
            wanted = method.teacher_needs(teacher).maps, method.student_maps(student)
            method.auxiliary(_shapes(student, data, wanted[1]), _shapes(teacher, data, wanted[0]))
        except ValueError as error:
            raise ValueError(f"methods.{arm.method}: {error}") from None


@torch.no_grad()
def _shapes(network: Network, data: Data, maps: frozenset[str]) -> Outputs:
    """Outputs without values, of two images."""
    outputs: Outputs = network.eval()(torch.empty(2, *data.input_shape, device="meta"), maps)
    return outputs
