"""Back-propagation alone: the baseline that every other method is compared with."""

from typing import ClassVar, Literal

from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.method import Distillation, Needs


class BP(Distillation):
    """CE; reads no output of the teacher."""

    method: Literal["bp"] = "bp"
    reads_teacher: ClassVar[bool] = False

    @override
    def teacher_needs(self) -> Needs:
        return Needs()

    @override
    def loss(self, step: Step) -> Loss:
        return cross_entropy(step)
