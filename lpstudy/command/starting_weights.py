"""The weights files from which a study starts: checked, hashed and copied to the shared cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lpstudy.cache import shared_cache
from lpstudy.data import Data
from lpstudy.folder import Folder
from lpstudy.model_file import check_weights
from lpstudy.outputs import Network
from lpstudy.space import Arm, StudySpec
from lpstudy.students import ReplacedHead, StudentSpec, read_weights, read_weights_file
from lpstudy.teacher import check_teacher, learns_from_logits

FOLDER = "weights"
"""Subfolder of the cache."""


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """The hashes of a study's weights files, and notes on them."""

    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file, by the path in the study file."""
    notes: tuple[str, ...] = ()
    """Notes for console and report, one line each."""
    teacher_head: ReplacedHead | None = None
    """The teacher's last layer, if it is untrained."""


def starting_weights(spec: StudySpec, data: Data) -> StartingWeights:
    """Check the weights files against their networks.

    Raises:
        ValueError: A file is missing, cannot be read or does not fit; in one line.
    """
    head, lines = check_teacher(spec.teacher, data)
    notes = [f"[teacher] weights: {line}" for line in lines]
    if head is not None:
        notes[-1] += ", so its logits are untrained"
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
            _, lines = check_weights(
                student.weights, network, input_shape=data.input_shape, class_names=data.class_names
            )
        except (ValueError, OSError) as error:
            raise ValueError(f"{where}: {error}") from None
        notes.append(f"{where}: trials and finals start from {files[student.weights][:16]}")
        notes += [f"{where}: {line}" for line in lines]
    return StartingWeights(files, tuple(notes), head)


def check_logits(arm: Arm, data: Data, teacher: Network, weights: StartingWeights) -> None:
    """Refuse an arm that would learn from untrained logits.

    Raises:
        ValueError: The arm learns from logits, and the teacher's last layer is untrained.
    """
    if weights.teacher_head is not None and learns_from_logits(arm, data, teacher):
        raise ValueError(
            f"methods.{arm.method}: learns from the teacher's logits, which are untrained: in [teacher]"
            f" weights {weights.teacher_head}; leave {arm.method} out, or train the teacher on these classes"
        )


def student_hashes(spec: StudySpec, weights: StartingWeights) -> dict[str, str]:
    """SHA-256 of the weights file that each student starts from, by the student's label."""
    return {one.label: weights.files[one.weights] for one in spec.students if one.weights is not None}


def share_weights(weights: StartingWeights) -> dict[str, str]:
    """Copy the files into the cache, named by their SHA-256; returns the copies by the original path.

    Raises:
        ValueError: A file has changed since it was checked.
        OSError: A file cannot be read, or the cache cannot be written.
    """
    folder = shared_cache().resolve() / FOLDER
    return {path: _copy_to_cache(folder, path, digest) for path, digest in weights.files.items()}


def _copy_to_cache(folder: Folder, path: str, digest: str) -> str:
    file = read_weights(path)
    if file.sha256 != digest:
        raise ValueError(f"{path} has changed while the study started")
    name = f"{digest}{file.suffix}"
    try:
        read_weights_file(folder, name, sha256=digest)
    except (FileNotFoundError, ValueError):  # new, or damaged
        folder.write(name, file.content)
    return f"{folder.url}/{name}"
