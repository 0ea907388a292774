"""The data that a teacher is trained on, and the hash by which the cache knows it."""

import hashlib
import json
from dataclasses import asdict

from lpstudy.cache import shared_cache
from lpstudy.data import Data
from lpstudy.folder import Folder
from lpstudy.space import BANK_KEYS, INPUT_KEYS, TeacherSpec
from lpstudy.students import code_of, read_weights
from lpstudy.teacher.teacher_input import input_of

FORMAT = 2
"""Version of the training; an increase makes all earlier teachers unused."""
UNHASHED = ("weights", "labels_per_class", "checkpoint_seconds", *BANK_KEYS, *INPUT_KEYS)
"""Keys of [teacher] that do not change it, or that its key has in another form."""


def teaching_data(spec: TeacherSpec, data: Data) -> Data:
    """The data that a teacher is trained on: those of the students, with labels of its own number.

    Raises:
        ValueError: A class has fewer labels than the study file says.
    """
    match spec.labels_per_class:
        case None:
            return data.labelled(data.labels_per_class)
        case "all":
            return data.labelled(None)
        case int(count):
            try:
                return data.labelled(count)
            except ValueError as error:
                raise ValueError(f"[teacher] {error}") from None


def teacher_key(spec: TeacherSpec, data: Data) -> str:
    """The hash of a teacher in 16 hex digits: data and spec with the seed, or the user's weights."""
    table: dict[str, object] = {
        "data": teaching_data(spec, data).fingerprint,
        "pad": data.pad,
        "flip": data.flip,
        "format": FORMAT,
    }
    table |= spec.model_dump(mode="json", exclude={*UNHASHED})
    if code := code_of(spec.family, spec.design):
        table["code"] = code
    if spec.weights is not None:
        table["weights"] = read_weights(spec.weights).sha256
    if (teacher_input := input_of(spec, data)) is not None:
        table["input"] = asdict(teacher_input)
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def teacher_folder(spec: TeacherSpec, data: Data) -> Folder:
    """The folder of a teacher and its checkpoints."""
    return shared_cache() / f"teachers/{teacher_key(spec, data)}"
