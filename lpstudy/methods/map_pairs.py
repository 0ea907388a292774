"""Methods that compare maps of the student with maps of the teacher, in pairs."""

from abc import ABC
from typing import ClassVar, Self

from typing_extensions import override

from lpstudy.methods.resolutions import resolutions
from lpstudy.methods.soft_targets import FeatureMethod
from lpstudy.outputs import Network


class MapMethod(FeatureMethod, ABC):
    """A method of pairs of maps: the student's `layers` and in the same places the teacher's.

    By default they are the last stages of the deepest resolutions of each network. Where one list is given,
    the other has as many. A network that does not say the shape of its images, or has fewer resolutions,
    gives maps that are spread evenly over it, the last one included.
    """

    default_pairs: ClassVar[int] = 1
    """Pairs where neither list is given, or fewer where a network has not so many maps."""
    layers: tuple[str, ...] | None = None
    """The student's maps; the last stage of each of the deepest resolutions where none are named."""
    teacher_layers: tuple[str, ...] | None = None
    """The teacher's maps, each for the student's map in the same place; likewise."""

    @override
    def with_default_layers(self, student: Network, teacher: Network) -> Self:
        named = self.layers or self.teacher_layers
        most = min(len(_stages(student)), len(_stages(teacher)))
        count = len(named) if named else min(self.default_pairs, most)
        layers = self.layers or _deepest(student, count)
        teacher_layers = self.teacher_layers or _deepest(teacher, count)
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


def _stages(network: Network) -> tuple[str, ...]:
    """The last stage of each resolution; all maps where the network does not tell them apart."""
    stages = () if network.input_shape is None else resolutions(network)
    return stages or network.map_names


def _deepest(network: Network, count: int) -> tuple[str, ...]:
    stages = _stages(network)
    if network.input_shape is None or len(stages) < count:
        return spread(network.map_names, count)
    return stages[len(stages) - count :]


def spread(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """`count` of the names, evenly spread and with the last one; all where there are no more."""
    taken = min(count, len(names))
    return tuple(names[-(-len(names) * place // taken) - 1] for place in range(1, taken + 1))
