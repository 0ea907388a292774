"""Locality preserving distillation together with soft targets."""

from dataclasses import replace
from typing import Literal

from typing_extensions import override

from lpstudy.distill.kd import Temperature, Weight, kd_loss
from lpstudy.distill.lp import LocalityPreserving
from lpstudy.distill.method import Loss, Needs, Step
from lpstudy.outputs import Network


class LPKD(LocalityPreserving):
    """CE + weight * T^2 * KL(teacher_T || student_T) + gamma * LP."""

    method: Literal["lp_kd"] = "lp_kd"
    weight: Weight = 1.0
    """Factor of the soft-target term."""
    temperature: Temperature = 4.0
    """Divides the logits of both networks; 1 leaves the probabilities as they are."""

    @override
    def teacher_needs(self, teacher: Network) -> Needs:
        return replace(super().teacher_needs(teacher), logits=True)

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return {**super().weights(progress), "kd": self.weight}

    @override
    def loss(self, step: Step) -> Loss:
        soft = kd_loss(step.student.logits, step.teacher.logits, temperature=self.temperature)
        return super().loss(step).plus("kd", soft, weight=step.weights["kd"])
