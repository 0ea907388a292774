"""The weights files that a study starts from: checked, hashed, and put where all nodes find them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from lpstudy.data import Data, shared_cache
from lpstudy.folder import Folder
from lpstudy.model_file import check_weights
from lpstudy.outputs import Network
from lpstudy.space import Arm, StudySpec
from lpstudy.students import ReplacedHead, StudentSpec, read_weights, read_weights_file
from lpstudy.teacher import check_teacher, learns_from_logits, teacher_key

FOLDER = "weights"
"""In the cache."""


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """What a study's weights files are, and what there is to say of them."""

    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by the path that the study file gives."""
    notes: tuple[str, ...] = ()
    """Lines for console and report."""
    teacher_head: ReplacedHead | None = None
    """The teacher's last layer, where it is untrained."""


def starting_weights(spec: StudySpec, data: Data) -> StartingWeights:
    """Hold the files against the networks that they are for.

    Raises:
        ValueError: One is not there, cannot be read or does not fit; in one line.
    """
    head, said = check_teacher(spec.teacher, data)
    untrained = "" if head is None else ", so its logits are untrained"
    notes = [f"[teacher] weights: {line}{untrained}" for line in said]
    files = (
        {}
        if spec.teacher.weights is None
        else {spec.teacher.weights: read_weights(spec.teacher.weights).sha256}
    )
    for student in spec.students:
        if student.weights is None:
            continue
        network = StudentSpec.model_validate(student.fixed)
        where = f"students: {student.label}: weights"
        try:
            files[student.weights] = read_weights(student.weights).sha256
            _, said = check_weights(
                student.weights, network, input_shape=data.input_shape, class_names=data.class_names
            )
        except (ValueError, OSError) as error:
            raise ValueError(f"{where}: {error}") from None
        notes.append(f"{where}: trials and finals start from {files[student.weights][:16]}")
        notes += [f"{where}: {line}" for line in said]
    return StartingWeights(files, tuple(notes), head)


def check_logits(arm: Arm, teacher: Network, weights: StartingWeights) -> None:
    """Refuse an arm that would learn from logits which nobody has trained.

    Raises:
        ValueError: It would.
    """
    if weights.teacher_head is not None and learns_from_logits(arm, teacher):
        raise ValueError(
            f"methods.{arm.method}: learns from the teacher's logits, which are untrained, for in [teacher]"
            f" weights {weights.teacher_head}; leave {arm.method} out, or train the teacher on these classes"
        )


def content_hash(spec: StudySpec, data: Data, weights: StartingWeights) -> str:
    """Hash of the images, the teacher and what students start from, which paths do not tell."""
    teacher = teacher_key(spec.teacher, data)
    started = [weights.files[one.weights] for one in spec.students if one.weights is not None]
    if not started:
        return teacher
    return hashlib.sha256(json.dumps([teacher, *started]).encode()).hexdigest()[:16]


def share_weights(weights: StartingWeights) -> dict[str, str]:
    """Copy the files into the cache, by their SHA-256; where each lies then, by the path that was given.

    Raises:
        ValueError: A file has changed since it was checked.
        OSError: It cannot be read, or the cache not written.
    """
    folder = shared_cache().resolve() / FOLDER
    return {place: _shared(folder, place, digest) for place, digest in weights.files.items()}


def _shared(folder: Folder, place: str, digest: str) -> str:
    name = f"{digest}.safetensors"
    try:
        read_weights_file(folder, name, sha256=digest)
    except (FileNotFoundError, ValueError):  # new, or damaged
        file = read_weights(place)
        if file.sha256 != digest:
            raise ValueError(f"{place} has changed while the study started") from None
        folder.write(name, file.content)
    return f"{folder.url}/{name}"
