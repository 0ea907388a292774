"""The training loop: plain torch, on one worker or several."""

from lpstudy.training.asking import Ask
from lpstudy.training.evaluation import evaluate
from lpstudy.training.loop import train
from lpstudy.training.run import DivergedError
from lpstudy.training.targets import Targets
from lpstudy.training.timing import RunSeconds, time_run

__all__ = ["Ask", "DivergedError", "RunSeconds", "Targets", "evaluate", "time_run", "train"]
