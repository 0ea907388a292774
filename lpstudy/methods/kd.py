"""Knowledge distillation by soft targets alone (Hinton, Vinyals and Dean, arXiv 1503.02531).

With `standardize` the logits are standardised first (Sun et al., arXiv 2403.01427); their setting is a
temperature of 2 and a weight of 9 beside CE at 0.1.
"""

from typing import Literal

from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.soft_targets import LogitMethod, Temperature, Weight, kd_loss, standardized


class KD(LogitMethod):
    """CE + weight * T^2 * KL(teacher_T || student_T)."""

    method: Literal["kd"] = "kd"
    weight: Weight = 1.0
    """Factor of the soft-target term; 0 leaves it out: published 9, standardised 90; search 0.05 to 100."""
    temperature: Temperature = 4.0
    """Divides the logits of both networks; 1 leaves the probabilities as they are; search 1 to 8."""
    standardize: bool = False
    """Whether each image's logits are first brought to mean 0 and standard deviation 1."""

    @override
    def weights(self, progress: float) -> dict[str, float]:
        del progress
        return {"kd": self.weight}

    @override
    def loss(self, step: Step) -> Loss:
        student, teacher = step.student.logits, step.teacher.logits
        if self.standardize:
            student, teacher = standardized(student), standardized(teacher)
        soft = kd_loss(student, teacher, temperature=self.temperature)
        return cross_entropy(step).plus("kd", soft, weight=step.weights["kd"])
