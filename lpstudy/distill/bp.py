"""Back-propagation alone: the baseline that every other method is compared with."""

from typing import Literal

from torch import Tensor, nn
from typing_extensions import override

from lpstudy.distill.method import Distillation, Loss, Needs, Step, cross_entropy
from lpstudy.outputs import Network, Outputs


class BP(Distillation):
    """CE; reads nothing of the teacher."""

    method: Literal["bp"] = "bp"

    @override
    def teacher_needs(self, teacher: Network) -> Needs:
        del teacher
        return Needs()

    @override
    def loss(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: Tensor,
        step: Step,
        auxiliary: nn.Module | None,
    ) -> Loss:
        del teacher, step, auxiliary
        return cross_entropy(student, labels)
