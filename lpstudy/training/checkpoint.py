"""Checkpoints: safetensors and JSON, written atomically, the last two kept, a differing sha-256 refused."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn, optim

from lpstudy.disk import StorageError
from lpstudy.folder import Folder
from lpstudy.students import load_state
from lpstudy.training.partial_epoch import PartialEpoch

CHECKPOINTS_TO_KEEP = 2
_NAME = re.compile(r"checkpoint-\d{6}(_\d{8})?\.json")
"""Epochs that are done, and steps of the next one; in their order."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after an epoch, or in one; `history` is all that the epochs so far reported."""

    run: str
    """Names the run that it belongs to: no other may go on from it."""
    epoch: int
    """How many are done."""
    tensors: Mapping[str, Tensor]
    history: list[dict[str, Any]]
    part: PartialEpoch | None = None
    """Of the next epoch, where it was begun."""


class _Row(BaseModel):
    """What an epoch reported, as `EpochResult` has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epoch: int
    metrics: dict[str, float]
    warnings: list[str]
    test_correct: str = ""


class _Part(BaseModel):
    """Of a `PartialEpoch`, what is no tensor."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step: int
    images_seen: Annotated[int, Field(alias="seen")]
    seconds: float
    metrics: dict[str, float]


class _Body(BaseModel):
    """A checkpoint's JSON file; whoever wrote it may have been another than lpstudy."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str
    epoch: int
    history: list[_Row]
    part: _Part | None = None
    sha256: str


def to_safetensors(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The tensors as safetensors bytes; shared or strided storage is copied."""
    from safetensors.torch import save

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return save(copies, metadata)


def save(folder: Folder, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and drop all but the newest two."""
    all_tensors, name = dict(checkpoint.tensors), f"checkpoint-{checkpoint.epoch:06d}"
    body: dict[str, Any] = {"run": checkpoint.run, "epoch": checkpoint.epoch, "history": checkpoint.history}
    if (part := checkpoint.part) is not None:
        all_tensors |= {f"sum.{key}": value for key, value in part.sums.items()}
        all_tensors |= {f"random.{key}": value for key, value in part.random.items()}
        name += f"_{part.step:08d}"
        body["part"] = {field.alias or key: getattr(part, key) for key, field in _Part.model_fields.items()}
    tensors = to_safetensors(all_tensors)
    folder.write(f"{name}.safetensors", tensors)
    folder.write(f"{name}.json", json.dumps(body | {"sha256": _digest(tensors, body)}).encode())
    drop(folder, keep=CHECKPOINTS_TO_KEEP)


def newest_name(folder: Folder) -> str:
    """Name of the newest checkpoint, whether it is valid or not; empty where there is none.

    What a run has done since is in a greater name.

    Raises:
        StorageError: The store does not answer.
    """
    return max((name for name in folder.names() if _NAME.fullmatch(name)), default="")


def drop(folder: Folder, *, keep: int = 0) -> None:
    """Remove all but the newest so many checkpoints of a folder, and those that were never wholly written."""
    there = folder.names()
    whole = [name for name in there if _NAME.fullmatch(name)]
    kept = {file for name in whole[len(whole) - keep :] for file in (name, _tensors_of(name))}
    for name in there:  # in their order, a JSON file comes before its tensors
        if name.removeprefix(".").startswith("checkpoint-") and name not in kept:
            folder.remove(name)


def _tensors_of(name: str) -> str:
    """The file of tensors beside a checkpoint's JSON."""
    return f"{name.removesuffix('.json')}.safetensors"


def _digest(tensors: bytes, body: Mapping[str, Any]) -> str:
    told = {key: value for key, value in body.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode() + tensors).hexdigest()


def load_newest(folder: Folder, run: str) -> tuple[Checkpoint | None, list[str]]:
    """The newest valid checkpoint of a run in a folder, and one line for each that was refused.

    Raises:
        StorageError: The store does not answer: there may be one.
    """
    refused: list[str] = []
    for name in reversed(folder.names()):
        if not _NAME.fullmatch(name):
            continue
        try:
            return _opened(folder, name, run), refused
        except StorageError:
            raise
        except ValidationError as error:
            refused.append(f"{name} refused: {error.errors()[0]['msg']}")
        except (OSError, ValueError) as error:
            refused.append(f"{name} refused: {error}")
    return None, refused


def _opened(folder: Folder, name: str, run: str) -> Checkpoint:
    """A checkpoint by its JSON file.

    Raises:
        OSError: A file of it is missing.
        ValueError: It is damaged, or another run's, or no file of the kind at all.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    content = folder.read(name)
    body = _Body.model_validate_json(content)
    tensors = folder.read(_tensors_of(name))
    if _digest(tensors, json.loads(content)) != body.sha256:
        raise ValueError("its sha-256 differs")
    if body.run != run:
        raise ValueError("another run made it")
    if not (body.history or body.part) or [r.epoch for r in body.history] != list(range(1, body.epoch + 1)):
        raise ValueError(f"its epochs are not 1 to {body.epoch}")
    try:
        found = from_bytes(tensors)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file: {error}") from None
    part = None
    if body.part is not None:
        part = PartialEpoch(
            **body.part.model_dump(), sums=_below(found, "sum."), random=_below(found, "random.")
        )
    return Checkpoint(run, body.epoch, found, [row.model_dump() for row in body.history], part)


def pack_state(
    student: nn.Module, auxiliary: nn.Module | None, optimizer: optim.Optimizer
) -> dict[str, Tensor]:
    """All tensors of a run by name."""
    tensors = {f"student.{key}": value for key, value in student.state_dict().items()}
    if auxiliary is not None:
        tensors |= {f"auxiliary.{key}": value for key, value in auxiliary.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v for k, v in state.items() if isinstance(v, Tensor)}
    return tensors


def student_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The student's part of what `pack_state` gave."""
    return _below(tensors, "student.")


def unpack_state(
    tensors: Mapping[str, Tensor], student: nn.Module, auxiliary: nn.Module | None, optimizer: optim.Optimizer
) -> None:
    """Put the tensors of a run back where `pack_state` found them."""
    load_state(student, student_tensors(tensors))
    if auxiliary is not None:
        auxiliary.load_state_dict(_below(tensors, "auxiliary."))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimizer.").items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            # Fused optimisers go through memory in its order: averages must lie as their weights do.
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
