"""The teacher: trained once per (data, spec, seed), kept as safetensors and JSON by content hash, reused."""

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from lpstudy.cost import cost_of
from lpstudy.data import Data, shared_cache
from lpstudy.disk import UnreachableError
from lpstudy.distill.bp import BP
from lpstudy.folder import Folder, Local, folder_at
from lpstudy.outputs import EpochResult, Network
from lpstudy.space import BANK_KEYS, StudentSpec, TeacherSpec, Trial
from lpstudy.students import build
from lpstudy.teacher.online import OnlineTeacher
from lpstudy.training import checkpoint, evaluate, train
from lpstudy.training.asking import Asking, go_on
from lpstudy.training.checkpoint import to_safetensors
from lpstudy.training.layout import lay
from lpstudy.training.precision import resolved

FORMAT = 2
"""Raised when the training loop changes what a teacher of the same spec becomes."""
WEIGHTS = "weights.safetensors"
LONGEST = 300
"""Characters of torch's complaint about one's own weights, which names every tensor."""


@dataclass(frozen=True, slots=True)
class TeacherFile:
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


_FILE = TypeAdapter(TeacherFile)


def key(spec: TeacherSpec, data: Data) -> str:
    """Sixteen hex digits that name a teacher: its data, its spec with the seed, or its own weights."""
    table: dict[str, object] = {
        "data": data.fingerprint,
        "pad": data.pad,
        "flip": data.flip,
        "format": FORMAT,
    }
    table |= spec.model_dump(mode="json", exclude={"weights", "checkpoint_seconds", *BANK_KEYS})
    if spec.weights is not None:
        table["weights"] = hashlib.sha256(Path(spec.weights).read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def folder_of(spec: TeacherSpec, data: Data) -> Folder:
    """Where a teacher and its checkpoints are kept."""
    return shared_cache() / f"teachers/{key(spec, data)}"


def check(spec: TeacherSpec, data: Data) -> None:
    """Refuse a teacher that cannot be had, before anything is started.

    Raises:
        ValueError: One's own weights do not fit the network, or the images are too small for it.
        FileNotFoundError: There is no such weights file.
    """
    cost_of(spec.network, input_shape=data.input_shape, classes=data.classes)
    if spec.weights is not None:
        if not Path(spec.weights).is_file():
            raise FileNotFoundError(f"[teacher] weights: {spec.weights}: no such file")
        _own(spec, data)


def obtain(
    spec: TeacherSpec, data: Data, *, device: torch.device, asking: Asking = go_on
) -> Iterator[EpochResult | TeacherFile]:
    """The teacher of a study: each epoch as it ends, and at last the file; at once where it is cached.

    Another process that wants the same teacher waits for it, unless the cache is in an object store: there it
    makes the same one. A kill loses at most one checkpoint interval. A
    file that is damaged is made again from the last checkpoint, which is kept; its first epoch warns of it.

    Args:
        spec: What it is.
        data: What it learns.
        device: Where.
        asking: See `train`; where it ended the training there is no file at the end.
    """
    folder = folder_of(spec, data)
    with _alone(folder):
        found, refused = _cached(folder)
        if found is None:
            found = yield from _make(spec, data, folder, device, refused, asking)
        if found is not None:
            yield found


@contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """One process at a time, where the folder is on a disk."""
    from filelock import FileLock

    if not isinstance(folder, Local):
        yield
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.path / "lock"):
        yield


def open_teacher(file: TeacherFile, spec: TeacherSpec, data: Data, *, device: torch.device) -> OnlineTeacher:
    """A cached teacher, ready to run.

    Raises:
        ValueError: The weights file is not the one that was recorded.
    """
    network = _network(spec.network, data)
    network.load_state_dict(_read(folder_at(file.folder), WEIGHTS, file.sha256))
    return OnlineTeacher(network, file.macs, device=device, bf16=resolved(spec.precision, device))


def _cached(folder: Folder) -> tuple[TeacherFile | None, tuple[str, ...]]:
    """The teacher that is kept, or why one that is there is refused."""
    try:
        try:
            told = folder.read("teacher.json")
        except FileNotFoundError:
            return None, ()
        file = _FILE.validate_json(told, strict=True)
        _read(folder, WEIGHTS, file.sha256)
    except UnreachableError:
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
    asking: Asking,
) -> Generator[EpochResult, None, TeacherFile | None]:
    network = _network(spec.network, data)
    training_macs = 0.0
    if spec.weights is not None:
        network = _own(spec, data)
    else:
        run = Trial(
            student=spec.network,
            method=BP(),
            training=spec.training,
            epochs=spec.epochs,
            seed=spec.seed,
        )
        result = None
        for result in train(run, data, None, device=device, folder=folder, asking=asking):
            yield replace(result, warnings=refused + result.warnings)
            refused = ()
        if result is None or result.epoch < spec.epochs:
            return None
        training_macs = result.metrics["training_macs"]
        network.load_state_dict(_read(folder, WEIGHTS, None))
    weights = to_safetensors(network.state_dict())
    lay(network.to(device))
    bf16 = resolved(spec.precision, device)
    cost = cost_of(spec.network, input_shape=data.input_shape, classes=data.classes)
    file = TeacherFile(
        folder=folder.url,
        key=key(spec, data),
        sha256=hashlib.sha256(weights).hexdigest(),
        label=spec.network.label(),
        validation_accuracy=evaluate(network, data.validation, device=device, bf16=bf16)[0],
        test_accuracy=evaluate(network, data.test, device=device, bf16=bf16)[0],
        parameters=cost.parameters,
        macs=cost.macs,
        training_macs=training_macs,
        seed=spec.seed,
    )
    folder.write(WEIGHTS, weights)
    folder.write("teacher.json", json.dumps(asdict(file), indent=1).encode())
    checkpoint.drop(folder, keep=1)
    return file


def _own(spec: TeacherSpec, data: Data) -> Network:
    network = _network(spec.network, data)
    try:
        path = Path(str(spec.weights))
        weights = _read(Local(path.parent), path.name, None)
        spoilt = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
        if spoilt:
            raise ValueError(f"{spoilt[0]} is not finite")
        network.load_state_dict(weights)
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= LONGEST else f"{reason[:LONGEST]} ..."
        raise ValueError(
            f"[teacher] weights: {spec.weights} does not fit {spec.network.label()}: {reason}"
        ) from None
    return network


def _network(spec: StudentSpec, data: Data) -> Network:
    return build(spec, input_shape=data.input_shape, classes=data.classes)


def _read(folder: Folder, name: str, sha256: str | None) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    content, where = folder.read(name), f"{folder}/{name}"
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{where}: its sha-256 differs from the one recorded")
    try:
        return load(content)
    except SafetensorError as error:
        raise ValueError(f"{where}: not a safetensors file: {error}") from None
