"""The teacher's accuracy on shifted test images: measured once, kept beside its weights."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter

from lpstudy.data import Data
from lpstudy.data.corruptions import hash_of
from lpstudy.data.split import Split
from lpstudy.disk import StorageError
from lpstudy.folder import Folder, folder_at
from lpstudy.outputs import EpochResult
from lpstudy.space import TeacherSpec
from lpstudy.teacher.fit import TrainedTeacher, open_teacher, teacher_chunk_size
from lpstudy.training import evaluate
from lpstudy.training.precision import uses_bf16

SHIFTS_FILE = "shifts.json"
_CONTENT = TypeAdapter(dict[str, Annotated[float, Field(ge=0, le=100)]])


def measured(
    results: Iterator[EpochResult | TrainedTeacher], spec: TeacherSpec, data: Data, *, device: torch.device
) -> Iterator[EpochResult | TrainedTeacher]:
    """What `load_or_train` gives; the teacher with its accuracies on the data's shifted test sets.

    A teacher whose last layer is untrained has none.
    """
    for result in results:
        if isinstance(result, TrainedTeacher) and data.shifts and result.file_classes is None:
            yield replace(result, shifts=_accuracies(result, spec, data, device))
        else:
            yield result


def _accuracies(
    teacher: TrainedTeacher, spec: TeacherSpec, data: Data, device: torch.device
) -> Mapping[str, float]:
    """Accuracy in percent on each shifted test set, by its name."""
    folder = folder_at(teacher.folder)
    keys = {name: _key(name, split) for name, split in data.shifts.items()}
    known = _read(folder)
    missing = [name for name, key in keys.items() if key not in known]
    if missing:
        network = open_teacher(teacher, spec, data, device=device).network
        chunk_size, bf16 = teacher_chunk_size(spec, data, device), uses_bf16(spec.precision, device)
        for name in missing:
            split = data.shifts[name]
            known[keys[name]], _ = evaluate(network, split, bf16=bf16, chunk_size=chunk_size)
        with suppress(StorageError):  # the cache may be read-only: then they are measured again
            folder.write(SHIFTS_FILE, json.dumps(known, indent=1).encode())
    return {name: known[key] for name, key in keys.items()}


def _key(name: str, split: Split) -> str:
    """A name for some images: that of their shift, with a hash of labels and first images."""
    labels = split.labels.cpu().numpy().tobytes()
    content = f"{hash_of([split.pixels], len(split))} {hashlib.sha256(labels).hexdigest()}"
    return f"{name} {hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _read(folder: Folder) -> dict[str, float]:
    """What is known; nothing where the file is missing or damaged."""
    try:
        return _CONTENT.validate_json(folder.read(SHIFTS_FILE), strict=True)
    except StorageError:
        raise
    except (OSError, ValueError):
        return {}
