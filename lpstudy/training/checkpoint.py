"""Checkpoints: safetensors and JSON, written atomically; the last two are kept, damaged ones are refused."""

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
"""Names hold the completed epochs and the steps of the next one, so that they sort by progress."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after an epoch, or within one; `history` has the results of all completed epochs."""

    run: str
    """Identity of its run: no other run may resume from it."""
    epoch: int
    """The number of completed epochs."""
    tensors: Mapping[str, Tensor]
    history: list[dict[str, Any]]
    partial_epoch: PartialEpoch | None = None
    """The state of the next epoch, where it has started."""


class _EpochRow(BaseModel):
    """The result of an epoch: see `EpochResult`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epoch: int
    metrics: dict[str, float]
    warnings: list[str]
    test_correct: str = ""


class _PartialEpochFields(BaseModel):
    """The fields of a `PartialEpoch` that are no tensors."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step: int
    images_seen: Annotated[int, Field(alias="seen")]
    seconds: float
    metrics: dict[str, float]


class _CheckpointFile(BaseModel):
    """A checkpoint's JSON file; another program may have written it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str
    epoch: int
    history: list[_EpochRow]
    part: _PartialEpochFields | None = None
    sha256: str


def to_safetensors(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Convert tensors to safetensors bytes; shared or strided storage is copied."""
    from safetensors.torch import save

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return save(copies, metadata)


def save(folder: Folder, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and remove all but the newest two."""
    all_tensors, name = dict(checkpoint.tensors), f"checkpoint-{checkpoint.epoch:06d}"
    body: dict[str, Any] = {"run": checkpoint.run, "epoch": checkpoint.epoch, "history": checkpoint.history}
    if (partial := checkpoint.partial_epoch) is not None:
        all_tensors |= {f"sum.{key}": value for key, value in partial.sums.items()}
        all_tensors |= {f"random.{key}": value for key, value in partial.random.items()}
        name += f"_{partial.step:08d}"
        body["part"] = {
            field.alias or key: getattr(partial, key)
            for key, field in _PartialEpochFields.model_fields.items()
        }
    tensors = to_safetensors(all_tensors)
    folder.write(f"{name}.safetensors", tensors)
    folder.write(f"{name}.json", json.dumps(body | {"sha256": _digest(tensors, body)}).encode())
    drop(folder, keep=CHECKPOINTS_TO_KEEP)


def newest_name(folder: Folder) -> str:
    """The name of the newest checkpoint, valid or not; empty where there is none.

    A later checkpoint of the run has a greater name.

    Raises:
        StorageError: The store does not answer.
    """
    return max((name for name in folder.names() if _NAME.fullmatch(name)), default="")


def drop(folder: Folder, *, keep: int = 0) -> None:
    """Remove all checkpoints of a folder but the newest `keep`, and incomplete ones."""
    names = folder.names()
    complete = [name for name in names if _NAME.fullmatch(name)]
    kept_files = {file for name in complete[len(complete) - keep :] for file in (name, _tensors_name(name))}
    for name in names:  # in sorted order, a JSON file comes before its tensors
        if name.removeprefix(".").startswith("checkpoint-") and name not in kept_files:
            folder.remove(name)


def _tensors_name(name: str) -> str:
    """The name of the tensors' file of a checkpoint's JSON file."""
    return f"{name.removesuffix('.json')}.safetensors"


def _digest(tensors: bytes, body: Mapping[str, Any]) -> str:
    hashed_fields = {key: value for key, value in body.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(hashed_fields, sort_keys=True).encode() + tensors).hexdigest()


def load_newest(folder: Folder, run: str) -> tuple[Checkpoint | None, list[str]]:
    """The newest valid checkpoint of a run in a folder, and one line for each refused one.

    Raises:
        StorageError: The store does not answer, so that a checkpoint may exist.
    """
    problems: list[str] = []
    for name in reversed(folder.names()):
        if not _NAME.fullmatch(name):
            continue
        try:
            return _read(folder, name, run), problems
        except StorageError:
            raise
        except ValidationError as error:
            problems.append(f"{name} refused: {error.errors()[0]['msg']}")
        except (OSError, ValueError) as error:
            problems.append(f"{name} refused: {error}")
    return None, problems


def _read(folder: Folder, name: str, run: str) -> Checkpoint:
    """Read a checkpoint by the name of its JSON file.

    Raises:
        OSError: A file of it is missing.
        ValueError: It is damaged, of another run, or no checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    content = folder.read(name)
    body = _CheckpointFile.model_validate_json(content)
    tensors = folder.read(_tensors_name(name))
    if _digest(tensors, json.loads(content)) != body.sha256:
        raise ValueError("its sha-256 differs")
    if body.run != run:
        raise ValueError("another run made it")
    if not (body.history or body.part) or [r.epoch for r in body.history] != list(range(1, body.epoch + 1)):
        raise ValueError(f"its epochs are not 1 to {body.epoch}")
    try:
        all_tensors = from_bytes(tensors)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file: {error}") from None
    partial = None
    if body.part is not None:
        partial = PartialEpoch(
            **body.part.model_dump(),
            sums=_strip_prefix(all_tensors, "sum."),
            random=_strip_prefix(all_tensors, "random."),
        )
    return Checkpoint(run, body.epoch, all_tensors, [row.model_dump() for row in body.history], partial)


def pack_state(modules: Mapping[str, nn.Module], optimizer: optim.Optimizer) -> dict[str, Tensor]:
    """Collect all tensors of a run by name: those of the modules, of which one is `student`, and averages."""
    tensors = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v for k, v in state.items() if isinstance(v, Tensor)}
    return tensors


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def unpack_state(
    tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimizer: optim.Optimizer
) -> None:
    """Load the tensors of `pack_state` into a run."""
    for name, module in modules.items():
        load_state(module, _strip_prefix(tensors, f"{name}."))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _strip_prefix(tensors, "optimizer.").items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            # Fused optimisers read memory in order: averages need the memory format of their weights.
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def _strip_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
