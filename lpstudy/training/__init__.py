"""The training loop: plain torch, on one worker or several."""

from lpstudy.training.asking import Ask
from lpstudy.training.evaluation import evaluate
from lpstudy.training.loop import seconds_of, train
from lpstudy.training.run import DivergedError
from lpstudy.training.targets import Targets

__all__ = ["Ask", "DivergedError", "Targets", "evaluate", "seconds_of", "train"]
