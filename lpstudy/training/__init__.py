"""The training loop in plain torch, on one worker or several."""

from lpstudy.training.directive import Directive
from lpstudy.training.divergence import DivergedError
from lpstudy.training.evaluation import evaluate
from lpstudy.training.loop import train
from lpstudy.training.teacher_outputs import TeacherOutputs
from lpstudy.training.timing import RunSeconds, time_run

__all__ = ["Directive", "DivergedError", "RunSeconds", "TeacherOutputs", "evaluate", "time_run", "train"]
