"""Methods that compare maps of the student with maps of the teacher, in pairs."""

from abc import ABC
from typing import ClassVar, Self

from typing_extensions import override

from lpstudy.distill.soft_targets import FeatureMethod
from lpstudy.outputs import Network


class MapMethod(FeatureMethod, ABC):
    """A method of pairs of maps: the student's `layers` and in the same places the teacher's.

    By default the maps are spread evenly over each network's stages, the last one included: of nine stages
    the third, sixth and ninth, of three all. Where one list is given, the other has as many.
    """

    default_pairs: ClassVar[int] = 1
    """Pairs where neither list is given, or fewer where a network has not so many maps."""
    layers: tuple[str, ...] | None = None
    """The student's maps; evenly spread ones where none are named."""
    teacher_layers: tuple[str, ...] | None = None
    """The teacher's maps, each for the student's map in the same place; evenly spread ones by default."""

    @override
    def with_default_layers(self, student: Network, teacher: Network) -> Self:
        named = self.layers or self.teacher_layers
        most = min(len(student.stages), len(teacher.stages))
        count = len(named) if named else min(self.default_pairs, most)
        layers = self.layers or spread(student.stages, count)
        teacher_layers = self.teacher_layers or spread(teacher.stages, count)
        if len(layers) != len(teacher_layers) or not layers:
            raise ValueError(
                f"layers: must be as many as teacher_layers, and at least one, "
                f"but are {len(layers)} and {len(teacher_layers)}"
            )
        return self.model_copy(update={"layers": layers, "teacher_layers": teacher_layers})

    @override
    def student_maps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.layers or ()))

    def pairs(self) -> list[tuple[str, str]]:
        """The student's and the teacher's map of each pair.

        Raises:
            ValueError: They have no names yet: see `resolved`.
        """
        if self.layers is None or self.teacher_layers is None:
            raise ValueError("the layers have no names: call method.resolved(student, teacher) first")
        return list(zip(self.layers, self.teacher_layers, strict=True))


def spread(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """`count` of the names, evenly spread and with the last one; all where there are no more."""
    taken = min(count, len(names))
    return tuple(names[-(-len(names) * place // taken) - 1] for place in range(1, taken + 1))
