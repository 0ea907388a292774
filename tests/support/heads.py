"""Students that end in a teacher's classifier, for the methods that ask for that."""

from collections.abc import Mapping

from lpstudy.methods import METHODS
from lpstudy.students import ReusedHead, StudentSpec


def student_for(
    method: str, student: Mapping[str, object] | StudentSpec, teacher: StudentSpec
) -> StudentSpec:
    """The student as an arm of the method has it."""
    spec = StudentSpec.model_validate(student)
    if not METHODS[method].reuses_classifier:
        return spec
    network = teacher.model_dump(include={"family", "design", "depth", "width"})
    return spec.model_copy(update={"head": ReusedHead(**network)})
