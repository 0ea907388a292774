"""Training of the teacher: once per (data, spec, seed), cached as safetensors and JSON by content hash."""

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from pydantic import TypeAdapter

from lpstudy.cost import cost
from lpstudy.data import Data
from lpstudy.disk import StorageError, storage_errors_at
from lpstudy.folder import Folder, LocalFolder, folder_at
from lpstudy.methods.bp import BP
from lpstudy.model_file import DESCRIPTION, WEIGHTS, check_weights, describe
from lpstudy.one_line import one_line
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec, TeacherSpec
from lpstudy.spending import SPENDING
from lpstudy.students import (
    ReplacedHead,
    fit_weights,
    load_state,
    load_weights,
    read_weights_file,
)
from lpstudy.teacher.logits_file import TEST_LOGITS, predictions_with_logits, write_test_logits
from lpstudy.teacher.online import OnlineTeacher
from lpstudy.teacher.teacher_input import (
    TeacherInput,
    adapt_network,
    input_of,
    input_shape_of,
    own_network,
    published_input_remark,
    teacher_skeleton,
)
from lpstudy.teacher.teacher_key import teacher_folder, teacher_key, teaching_data
from lpstudy.training import checkpoint, evaluate, train
from lpstudy.training.activations import activations_of
from lpstudy.training.checkpoint import to_safetensors
from lpstudy.training.directive import Poll, always_continue
from lpstudy.training.memory_format import set_memory_format
from lpstudy.training.precision import uses_bf16

LONGEST_REASON = 300
"""Characters of the reason why a cached teacher is refused."""


@dataclass(frozen=True, slots=True)
class TrainedTeacher:
    """A trained teacher; `folder` holds `weights.safetensors` and `teacher.json`."""

    folder: str
    key: str
    """Hash of data, spec and seed, or of the user's weights."""
    sha256: str
    """SHA-256 of the weights file."""
    label: str
    validation_accuracy: float
    test_accuracy: float
    """In percent; measured once after training, and used for no choice."""
    parameters: int
    macs: int
    training_macs: float
    seed: int
    input: TeacherInput | None = None
    """Normalisation and size of its images; None: those of the students."""
    file_classes: int | None = None
    """Class count of the user's weights where it differs from the data's: the last layer is untrained."""
    test_balanced_accuracy: float | None = None
    """Mean over classes, where the test set's are uneven."""
    test_top5_accuracy: float | None = None
    """From 20 classes on."""
    test_ece: float | None = None
    test_nll: float | None = None
    test_brier: float | None = None
    """See `lpstudy.training.predictions`."""
    test_logits: str | None = None
    """SHA-256 of the file of its logits of the test images; None where there is none."""
    shifts: Mapping[str, float] | None = None
    """Accuracies in percent on shifted test images by name: see `lpstudy.teacher.shift_accuracy`."""
    spending: Mapping[str, float] | None = None
    """What its training spent: see `lpstudy.spending`; None where it is not known."""


_TEACHER_FILE = TypeAdapter(TrainedTeacher)


def check_teacher(spec: TeacherSpec, data: Data) -> tuple[ReplacedHead | None, tuple[str, ...]]:
    """Refuse an impossible teacher before training starts.

    Returns:
        The last layer where it is new, and so untrained, and remarks on the weights.

    Raises:
        ValueError: The user's weights or the images do not fit the network.
    """
    if spec.weights is None:
        teaching_data(spec, data)
        teacher_skeleton(spec, None, data)
        return None, ()
    try:
        teacher_input = input_of(spec, data)
    except (ValueError, OSError) as error:
        raise ValueError(f"[teacher] weights: {error}") from None
    teacher_skeleton(spec, teacher_input, data)
    shape = input_shape_of(teacher_input, data)
    try:
        head, lines = check_weights(
            spec.weights, spec.network, input_shape=shape, class_names=data.class_names
        )
    except (ValueError, OSError) as error:
        raise ValueError(f"[teacher] weights: {error}") from None
    return head, (*published_input_remark(spec, teacher_input), *lines)


def load_or_train(
    spec: TeacherSpec, data: Data, *, device: torch.device, gpus: float = 1.0, poll: Poll = always_continue
) -> Iterator[EpochResult | TrainedTeacher]:
    """Load the teacher of a study from the cache, or train it: yield each epoch's result, then the teacher.

    Another process that needs the same teacher waits for it, unless the cache is in an object store: there it
    trains the same one. A kill loses at most one checkpoint interval. A damaged file is written again from
    the last checkpoint; the result of its first epoch has a warning.

    Args:
        spec: The teacher's network and training.
        data: The data set.
        device: Where the teacher is trained.
        gpus: The share of a GPU that this process has.
        poll: See `train`; where it ends the training early, no teacher follows.
    """
    folder = teacher_folder(spec, data)
    teacher = _load_cached(folder).teacher  # before the lock: the cache may be read-only
    if teacher is None:
        with _locked(folder):
            cached = _load_cached(folder)
            teacher = cached.teacher
            metrics: Mapping[str, float] | None = {}
            if teacher is None and spec.weights is None:
                run = partial(train, device=device, gpus=gpus, folder=folder, poll=poll)
                metrics = yield from _train(spec, data, cached.warnings, run)
            if teacher is None and metrics is not None:
                teacher = _evaluate_and_save(spec, data, folder, device, metrics)
    if teacher is not None:
        yield teacher


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    """Hold the folder's lock, where it is on a disk."""
    from filelock import FileLock

    if not isinstance(folder, LocalFolder):
        yield
        return
    lock = FileLock(folder.path / "lock")
    with storage_errors_at(folder.path / "lock"):
        folder.path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def open_teacher(
    file: TrainedTeacher, spec: TeacherSpec, data: Data, *, device: torch.device
) -> OnlineTeacher:
    """Load a cached teacher, ready to run.

    Raises:
        ValueError: The weights file differs from the recorded one.
    """
    network = own_network(spec, file.input, data)
    load_state(
        network,
        fit_weights(network, read_weights_file(folder_at(file.folder), WEIGHTS, sha256=file.sha256))[0],
    )
    network = adapt_network(network, file.input, data)
    return OnlineTeacher(network, file.macs, device=device, bf16=uses_bf16(spec.precision, device))


def teacher_chunk_size(spec: TeacherSpec, data: Data, device: torch.device) -> int:
    """The number of images of a forward pass that needs no more memory than a training step."""
    shape = input_shape_of(input_of(spec, data), data)
    activations = activations_of(spec.network, input_shape=shape, classes=data.classes)
    return activations.rows(min(spec.batch_size, len(data.train)), device)


@dataclass(frozen=True, slots=True)
class _CachedTeacher:
    """The content of a teacher's folder in the cache."""

    folder: Folder
    teacher: TrainedTeacher | None = None
    warnings: tuple[str, ...] = ()
    """The reason why a teacher is refused."""


def _load_cached(folder: Folder) -> _CachedTeacher:
    """The cached teacher, or a warning where it is refused."""
    try:
        try:
            content = folder.read("teacher.json")
        except FileNotFoundError:
            return _CachedTeacher(folder)
        file = _TEACHER_FILE.validate_json(content, strict=True)
        read_weights_file(folder, WEIGHTS, sha256=file.sha256)
        if file.test_logits is not None:
            read_weights_file(folder, TEST_LOGITS, sha256=file.test_logits)
    except StorageError:
        raise
    except (OSError, ValueError) as error:
        reason = one_line(error, LONGEST_REASON)
        warning = f"the cached teacher is refused and trained again: {reason}"
        return _CachedTeacher(folder, warnings=(warning,))
    return _CachedTeacher(folder, replace(file, folder=folder.url))


def _train(
    spec: TeacherSpec, data: Data, warnings: tuple[str, ...], run: Callable[..., Iterator[EpochResult]]
) -> Generator[EpochResult, None, Mapping[str, float] | None]:
    """Train the teacher by `run`; return its last metrics, None where the training was ended early."""
    trial = RunSpec(
        student=spec.network, method=BP(), training=spec.training, epochs=spec.epochs, seed=spec.seed
    )
    result = None
    for result in run(trial, teaching_data(spec, data), None):
        yield replace(result, warnings=warnings + result.warnings)
        warnings = ()
    return None if result is None or result.epoch < spec.epochs else result.metrics


def _evaluate_and_save(
    spec: TeacherSpec, data: Data, folder: Folder, device: torch.device, metrics: Mapping[str, float]
) -> TrainedTeacher:
    """Evaluate the user's network, or the trained one of the folder, and write the teacher's files.

    `metrics` are those of its last epoch; empty for the user's network.
    """
    teacher_input = input_of(spec, data)
    network_without_adapter, head = own_network(spec, teacher_input, data), None
    if spec.weights is not None:
        head = load_weights(network_without_adapter, spec.weights)
    else:
        state, _ = fit_weights(network_without_adapter, read_weights_file(folder, WEIGHTS))
        load_state(network_without_adapter, state)
    network = adapt_network(network_without_adapter, teacher_input, data)
    set_memory_format(network.to(device))
    bf16 = uses_bf16(spec.precision, device)
    chunk_size = teacher_chunk_size(spec, data, device)
    predictions = predictions_with_logits(data, device)
    accuracies = {
        f"{name}_accuracy": evaluate(network, split, bf16=bf16, chunk_size=chunk_size, predictions=record)[0]
        for name, split, record in (("validation", data.validation, None), ("test", data.test, predictions))
    }
    more = {f"test_{name}": value for name, value in predictions.metrics(data.test.labels).items()}
    input_facts: dict[str, object] = {}
    if teacher_input is not None:
        input_facts = {"mean": teacher_input.mean, "std": teacher_input.std}
        if teacher_input.interpolation != "bilinear":
            input_facts["interpolation"] = teacher_input.interpolation
    description = describe(
        spec.network,
        data,
        input_shape=input_shape_of(teacher_input, data),
        method=None if spec.weights else "bp",
        precision="bf16" if bf16 else "fp32",
        **accuracies,
        **input_facts,
    )
    weights = to_safetensors(network_without_adapter.state_dict(), description.metadata())
    size = cost(network, data.input_shape)
    file = TrainedTeacher(
        folder=folder.url,
        key=teacher_key(spec, data),
        sha256=hashlib.sha256(weights).hexdigest(),
        label=spec.network.label(),
        parameters=size.parameters,
        macs=size.macs,
        training_macs=metrics.get("training_macs", 0.0),
        spending={name: metrics[name] for name in SPENDING if name in metrics} or None,
        seed=spec.seed,
        input=teacher_input,
        file_classes=None if head is None else head.file_classes,
        shifts=None,
        test_logits=None if head is not None else write_test_logits(folder, predictions),
        **accuracies,
        **more,
    )
    folder.write(WEIGHTS, weights)
    folder.write(DESCRIPTION, description.to_json().encode())
    folder.write("teacher.json", json.dumps(asdict(file), indent=1).encode())
    checkpoint.drop(folder, keep=1)
    return file
