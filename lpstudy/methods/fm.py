"""Function matching: the teacher's probabilities alone, on images that both see (arXiv 2106.05237)."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.soft_targets import LogitMethod, Temperature, kd_loss


class FM(LogitMethod):
    """T^2 * KL(teacher_T || student_T) without CE: labels are not read.

    Made for `[data] mixup` and crops of any size with `[teacher] online = true`, and for long training.

    Source: Beyer et al., arXiv 2106.05237, section 3, equation 1; the factor T^2 is that of Hinton et al.
    """

    method: Literal["fm"] = "fm"
    ce_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Factor of CE: 0, so that labels have no part in the loss, only in the logged CE."""
    temperature: Temperature = 1.0
    """Divides the logits of both networks: 1 to 10 in the paper; search 1 to 10."""

    @override
    def weights(self, progress: float) -> dict[str, float]:
        del progress
        return {"kd": 1.0}

    @override
    def loss(self, step: Step) -> Loss:
        soft = kd_loss(step.student.logits, step.teacher.logits, temperature=self.temperature)
        return cross_entropy(step).plus("kd", soft, weight=step.weights["kd"])
