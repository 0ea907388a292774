"""The preparation of a study: its file, data and networks, checked before anything starts."""

import tempfile
import uuid
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lpstudy.cache import shared_cache
from lpstudy.command.batch_norm import check_batch_norm
from lpstudy.command.begun_study import BegunStudy, begun_study
from lpstudy.command.equal_compute import with_epochs
from lpstudy.command.large_stems import stem_remarks
from lpstudy.command.latencies import check_latency
from lpstudy.command.method_checks import check_method
from lpstudy.command.starting_weights import StartingWeights, check_logits, starting_weights
from lpstudy.command.warm_start import resolve_warm_start, warm_start_words
from lpstudy.cost import cost_of
from lpstudy.data import Data, Order, Share, load, part_remarks
from lpstudy.disk import StorageError, is_storage_error
from lpstudy.folder import Folder, RemoteFolder
from lpstudy.ledger import StoredWarmStart
from lpstudy.outputs import Network
from lpstudy.space import (
    Arm,
    ImportedCode,
    Scalar,
    StudySpec,
    Training,
    import_files,
    read_study,
)
from lpstudy.space.ranges import Choices, Range, corners
from lpstudy.students import skeleton
from lpstudy.study import TrialResources
from lpstudy.teacher import BankPlan, input_of, plan_bank, teacher_folder, teacher_skeleton
from lpstudy.user_lines import user_code_error

MAX_SIZES = 256
"""Maximum number of a searched student's designs that are examined for the infeasible share."""


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    """A study whose file, data, networks and methods have been checked against each other."""

    spec: StudySpec
    data: Data
    plan: BankPlan
    """The plan of the teacher's outputs that are computed once."""
    weights: StartingWeights
    """The weights from which teacher and students start."""
    imported: tuple[ImportedCode, ...] = ()
    """The code of one's own, which every process of the study runs."""
    remarks: tuple[str, ...] = ()
    """Remarks on the data, one line each."""
    network_remarks: tuple[str, ...] = ()
    """Remarks on networks that do not suit the images, one line each."""
    earlier_study: BegunStudy | None = None
    """What the ledger has of it; None for a new study."""
    warm_start: StoredWarmStart | None = None
    """The first points from another study."""

    @property
    def warm_start_lines(self) -> tuple[str, ...]:
        """The first points from another study in words, one line each."""
        return () if self.warm_start is None else tuple(warm_start_words(self.warm_start, self.spec))


def prepare(arguments: Namespace) -> PreparedStudy:
    """Read and check a study with its overrides and data.

    Raises:
        ValueError: The first problem, in one line.
        OSError: A file or folder cannot be read.
    """
    imported = import_files(arguments.imports)
    spec = read_study(
        arguments.study,
        trials=arguments.trials,
        epochs=arguments.epochs,
        seeds=arguments.seeds,
        imported=[code.load() for code in imported],
    )
    data = load(spec.data, root=arguments.data_root, progress=True)
    spec.shift.apply(data)  # refused here if it does not fit
    cache = shared_cache()  # refused here if invalid; with the teacher in it, it may be read-only
    if isinstance(cache, RemoteFolder) and not _has_teacher(spec, data):
        check_writable(cache)
    check_latency(spec)
    weights = starting_weights(spec, data)
    teacher = teacher_skeleton(spec.teacher, input_of(spec.teacher, data), data)
    for arm in spec.arms():
        _check_arm(arm, spec, data, teacher)
        check_logits(arm, data, teacher, weights)
    remarks = (*data.remarks, *part_remarks(data.train, data.validation, data.test))
    stems = tuple(stem_remarks(spec, data))
    earlier_study = begun_study(arguments, spec)
    warm_start = resolve_warm_start(arguments, spec, earlier_study)
    plan = plan_bank(spec, data, None if earlier_study is None else earlier_study.outputs(data))
    spec = with_epochs(spec, data, plan)
    return PreparedStudy(spec, data, plan, weights, imported, remarks, stems, earlier_study, warm_start)


def _has_teacher(spec: StudySpec, data: Data) -> bool:
    """Whether the cache has a folder of the study's teacher; False if it does not answer."""
    try:
        return teacher_folder(spec.teacher, data).exists()
    except StorageError:
        return False


def resources_of(args: Namespace, prepared: PreparedStudy) -> TrialResources:
    """The resources of a trial, from the flags.

    Raises:
        ValueError: A GPU or batch cannot be divided so, or this machine is too small.
    """
    resources = TrialResources(args.gpus_per_trial, args.workers_per_trial, args.concurrent)
    resources.check()
    split = prepared.data.train
    train = len(split)
    if split.mixture is not None:
        for size in _batch_sizes(prepared.spec):
            if split.mixture.part(size) < 2:
                raise ValueError(
                    f"[data] labelled_fraction: must give 2 labelled images or more in a batch, but"
                    f" {split.mixture.fraction:g} of training.batch_size = {size} is 1"
                )
            try:
                Order(0, 1, size).batches(train, Share(0, resources.workers_per_trial), split.mixture)
            except ValueError as error:
                raise ValueError(f"--workers-per-trial: {error}") from None
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
    """Create a folder and check that files can be written in it.

    Raises:
        ValueError, StorageError: Files cannot be written in it.
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
        content = folder.read(name)
        folder.remove(name)
    except OSError as error:
        raise ValueError(f"cannot write there: {error.strerror or error}") from None
    if content != name.encode():
        raise ValueError(f"{folder}: does not return what is written to it")


def student_sizes(arm: Arm) -> list[dict[str, Scalar]]:
    """The depths and widths of an arm's search space, thinned out if many; a fixed design has one, empty."""
    all_sizes = list(arm.student.sizes())
    step = max(1, len(all_sizes) // MAX_SIZES)
    return all_sizes[::step]


def feasible_sizes(
    arm: Arm, spec: StudySpec, data: Data, latencies: Mapping[str, float] | None = None
) -> list[dict[str, Scalar]]:
    """The sizes within the study's limits.

    Args:
        arm: The arm.
        spec: The study.
        data: Its data.
        latencies: Milliseconds by a design's label; None: latency is not judged.
    """
    within_limits = []
    for values in student_sizes(arm):
        student = arm.student_spec(values)
        cost = cost_of(student, input_shape=data.input_shape, classes=data.classes)
        latency = (latencies or {}).get(student.label())
        excess = spec.constraints.excess(macs=cost.macs, parameters=cost.parameters, latency_ms=latency)
        if all(value <= 0 for value in excess.values()):
            within_limits.append(values)
    return within_limits


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
    samples = min(_batch_sizes(spec))
    for values in corners(arm.hyperparameters):
        try:
            method = arm.resolve(fits[0] | values, epochs=1, seed=0).method
            check_method(method, student, teacher, data, samples=samples)
        except Exception as error:  # of any kind: it may be that of one's own code
            cause = user_code_error(error) or error
            if not isinstance(cause, ValueError):
                raise
            raise ValueError(f"methods.{arm.method}: {cause}") from error
