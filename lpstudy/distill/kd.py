"""Knowledge distillation by soft targets alone (Hinton, Vinyals and Dean, arXiv 1503.02531)."""

from typing import Literal

from typing_extensions import override

from lpstudy.distill.loss import Loss, Step, cross_entropy
from lpstudy.distill.method import Distillation, Needs
from lpstudy.distill.soft_targets import Temperature, Weight, kd_loss


class KD(Distillation):
    """CE + weight * T^2 * KL(teacher_T || student_T)."""

    method: Literal["kd"] = "kd"
    weight: Weight = 1.0
    """Factor of the soft-target term; 0 leaves it out."""
    temperature: Temperature = 4.0
    """Divides the logits of both networks; 1 leaves the probabilities as they are."""

    @override
    def teacher_needs(self) -> Needs:
        return Needs(logits=True)

    @override
    def weights(self, progress: float) -> dict[str, float]:
        del progress
        return {"kd": self.weight}

    @override
    def loss(self, step: Step) -> Loss:
        soft = kd_loss(step.student.logits, step.teacher.logits, temperature=self.temperature)
        return cross_entropy(step).plus("kd", soft, weight=step.weights["kd"])
