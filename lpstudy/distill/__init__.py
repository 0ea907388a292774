"""Distillation methods, one per file: hyperparameters, what is read of the teacher, loss."""

from typing import Annotated

from pydantic import Field

from lpstudy.distill.bp import BP
from lpstudy.distill.fitnet import FitNet
from lpstudy.distill.kd import KD
from lpstudy.distill.lp import LP
from lpstudy.distill.method import Distillation, Loss, Needs, Step, StepContext

Method = Annotated[BP | KD | FitNet | LP, Field(discriminator="method")]
"""Any method, told apart by its `method`."""

METHODS: dict[str, type[Distillation]] = {"bp": BP, "kd": KD, "fitnet": FitNet, "lp": LP}
"""Name of a method to its model, in the order of the reports."""

__all__ = ["METHODS", "Loss", "Method", "Needs", "Step", "StepContext"]
