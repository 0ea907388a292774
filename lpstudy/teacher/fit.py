"""The teacher: trained once per (data, spec, seed), kept as safetensors and JSON by content hash, reused."""

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import torch
from pydantic import TypeAdapter

from lpstudy.cost import cost
from lpstudy.data import Data, shared_cache
from lpstudy.disk import StorageError, storage_errors_at
from lpstudy.distill.bp import BP
from lpstudy.folder import Folder, LocalFolder, folder_at
from lpstudy.model_file import DESCRIPTION, WEIGHTS, check_weights, describe
from lpstudy.outputs import EpochResult
from lpstudy.space import BANK_KEYS, INPUT_KEYS, RunSpec, TeacherSpec
from lpstudy.students import (
    ReplacedHead,
    fit_weights,
    load_state,
    load_weights,
    read_weights,
    read_weights_file,
)
from lpstudy.teacher.online import OnlineTeacher
from lpstudy.teacher.teacher_input import (
    TeacherInput,
    adapt_network,
    bare_network,
    input_of,
    input_shape_of,
    teacher_skeleton,
)
from lpstudy.training import checkpoint, evaluate, train
from lpstudy.training.activations import activations_of
from lpstudy.training.checkpoint import to_safetensors
from lpstudy.training.directive import Poll, always_continue
from lpstudy.training.memory_format import set_memory_format
from lpstudy.training.precision import uses_bf16

FORMAT = 2
"""Raised when the training loop changes what a teacher of the same spec becomes."""
LONGEST = 300
"""Characters of why a teacher that was kept is refused."""


@dataclass(frozen=True, slots=True)
class TrainedTeacher:
    """What is known of a trained teacher; `folder` holds `weights.safetensors` and `teacher.json`."""

    folder: str
    key: str
    """Hash of data, spec and seed, or of one's own weights."""
    sha256: str
    """Of the weights file."""
    label: str
    validation_accuracy: float
    test_accuracy: float
    """In percent; read once, when the teacher was ready, and used for no choice."""
    parameters: int
    macs: int
    training_macs: float
    seed: int
    input: TeacherInput | None = None
    """What it wants of its images; None: as the students see them."""
    file_classes: int | None = None
    """Of one's own weights, where that is not the data's number of classes: the last layer is untrained."""


_FILE = TypeAdapter(TrainedTeacher)


def teacher_key(spec: TeacherSpec, data: Data) -> str:
    """Sixteen hex digits that name a teacher: its data, its spec with the seed, or its own weights."""
    table: dict[str, object] = {
        "data": data.fingerprint,
        "pad": data.pad,
        "flip": data.flip,
        "format": FORMAT,
    }
    table |= spec.model_dump(mode="json", exclude={"weights", "checkpoint_seconds", *BANK_KEYS, *INPUT_KEYS})
    if spec.weights is not None:
        table["weights"] = read_weights(spec.weights).sha256
    if (wanted := input_of(spec, data)) is not None:
        table["input"] = asdict(wanted)
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def teacher_folder(spec: TeacherSpec, data: Data) -> Folder:
    """Where a teacher and its checkpoints are kept."""
    return shared_cache() / f"teachers/{teacher_key(spec, data)}"


def check_teacher(spec: TeacherSpec, data: Data) -> tuple[ReplacedHead | None, tuple[str, ...]]:
    """Refuse a teacher that cannot be had, before anything is started.

    Returns its last layer where that is new, and so untrained, and what there is to say of its weights.

    Raises:
        ValueError: One's own weights do not fit the network, or the images do not.
    """
    if spec.weights is None:
        teacher_skeleton(spec, None, data)
        return None, ()
    try:
        wanted = input_of(spec, data)
    except (ValueError, OSError) as error:
        raise ValueError(f"[teacher] weights: {error}") from None
    teacher_skeleton(spec, wanted, data)
    shape = input_shape_of(wanted, data)
    try:
        return check_weights(spec.weights, spec.network, input_shape=shape, class_names=data.class_names)
    except (ValueError, OSError) as error:
        raise ValueError(f"[teacher] weights: {error}") from None


def load_or_train(
    spec: TeacherSpec, data: Data, *, device: torch.device, poll: Poll = always_continue
) -> Iterator[EpochResult | TrainedTeacher]:
    """The teacher of a study: each epoch as it ends, and at last the file; at once where it is cached.

    Another process that wants the same teacher waits for it, unless the cache is in an object store: there it
    makes the same one. A kill loses at most one checkpoint interval. A
    file that is damaged is made again from the last checkpoint, which is kept; its first epoch warns of it.

    Args:
        spec: What it is.
        data: What it learns.
        device: Where.
        poll: See `train`; where it ended the training there is no file at the end.
    """
    folder = teacher_folder(spec, data)
    found, _ = _cached(folder)  # before the lock: a cache that has it may be one that only can be read
    if found is None:
        with _locked(folder):
            found, refused = _cached(folder)
            if found is None:
                found = yield from _make(spec, data, folder, device, refused, poll)
    if found is not None:
        yield found


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    """One process at a time, where the folder is on a disk."""
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
    """A cached teacher, ready to run.

    Raises:
        ValueError: The weights file is not the one that was recorded.
    """
    network = bare_network(spec, file.input, data)
    load_state(
        network,
        fit_weights(network, read_weights_file(folder_at(file.folder), WEIGHTS, sha256=file.sha256))[0],
    )
    network = adapt_network(network, file.input, data)
    return OnlineTeacher(network, file.macs, device=device, bf16=uses_bf16(spec.precision, device))


def teacher_chunk_size(spec: TeacherSpec, data: Data, device: torch.device) -> int:
    """How many images the teacher runs at once in no more memory than its training step takes."""
    shape = input_shape_of(input_of(spec, data), data)
    found = activations_of(spec.network, input_shape=shape, classes=data.classes)
    return found.rows(min(spec.batch_size, len(data.train)), device)


def _cached(folder: Folder) -> tuple[TrainedTeacher | None, tuple[str, ...]]:
    """The teacher that is kept, or why one that is there is refused."""
    try:
        try:
            told = folder.read("teacher.json")
        except FileNotFoundError:
            return None, ()
        file = _FILE.validate_json(told, strict=True)
        read_weights_file(folder, WEIGHTS, sha256=file.sha256)
    except StorageError:
        raise
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:LONGEST]
        return None, (f"the teacher that was kept is refused and made again: {said}",)
    return replace(file, folder=folder.url), ()


def _make(
    spec: TeacherSpec,
    data: Data,
    folder: Folder,
    device: torch.device,
    refused: tuple[str, ...],
    poll: Poll,
) -> Generator[EpochResult, None, TrainedTeacher | None]:
    wanted = input_of(spec, data)
    bare = bare_network(spec, wanted, data)
    training_macs, head = 0.0, None
    if spec.weights is not None:
        head = load_weights(bare, spec.weights)
    else:
        run = RunSpec(
            student=spec.network,
            method=BP(),
            training=spec.training,
            epochs=spec.epochs,
            seed=spec.seed,
        )
        result = None
        for result in train(run, data, None, device=device, folder=folder, poll=poll):
            yield replace(result, warnings=refused + result.warnings)
            refused = ()
        if result is None or result.epoch < spec.epochs:
            return None
        training_macs = result.metrics["training_macs"]
        load_state(bare, fit_weights(bare, read_weights_file(folder, WEIGHTS))[0])
    network = adapt_network(bare, wanted, data)
    set_memory_format(network.to(device))
    bf16 = uses_bf16(spec.precision, device)
    chunk_size = teacher_chunk_size(spec, data, device)
    accuracies = {
        f"{name}_accuracy": evaluate(network, split, device=device, bf16=bf16, chunk_size=chunk_size)[0]
        for name, split in (("validation", data.validation), ("test", data.test))
    }
    seen = {} if wanted is None else {"mean": wanted.mean, "std": wanted.std}
    description = describe(
        spec.network,
        data,
        input_shape=input_shape_of(wanted, data),
        method=None if spec.weights else "bp",
        precision="bf16" if bf16 else "fp32",
        **accuracies,
        **seen,
    )
    weights = to_safetensors(bare.state_dict(), description.metadata())
    size = cost(network, data.input_shape)
    file = TrainedTeacher(
        folder=folder.url,
        key=teacher_key(spec, data),
        sha256=hashlib.sha256(weights).hexdigest(),
        label=spec.network.label(),
        parameters=size.parameters,
        macs=size.macs,
        training_macs=training_macs,
        seed=spec.seed,
        input=wanted,
        file_classes=None if head is None else head.file_classes,
        **accuracies,
    )
    folder.write(WEIGHTS, weights)
    folder.write(DESCRIPTION, description.to_json().encode())
    folder.write("teacher.json", json.dumps(asdict(file), indent=1).encode())
    checkpoint.drop(folder, keep=1)
    return file
