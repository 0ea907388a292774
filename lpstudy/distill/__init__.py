"""Distillation methods, one per file: hyperparameters, the teacher's outputs that are read, loss."""

from typing import Annotated

from pydantic import Field

from lpstudy.distill.bp import BP
from lpstudy.distill.fitnet import FitNet
from lpstudy.distill.kd import KD
from lpstudy.distill.lp import LP
from lpstudy.distill.method import Distillation, Loss, Needs, Step, StepContext

Method = Annotated[BP | KD | FitNet | LP, Field(discriminator="method")]
"""Any method; the field `method` discriminates between them."""

METHODS: dict[str, type[Distillation]] = {"bp": BP, "kd": KD, "fitnet": FitNet, "lp": LP}
"""The class of each method by name, in the order of the reports."""

__all__ = ["METHODS", "Loss", "Method", "Needs", "Step", "StepContext"]
