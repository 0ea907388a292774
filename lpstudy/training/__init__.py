"""The training loop: plain torch, on one worker or several."""

from lpstudy.training.evaluation import evaluate
from lpstudy.training.loop import DivergedError, Targets, seconds_per_step, train

__all__ = ["DivergedError", "Targets", "evaluate", "seconds_per_step", "train"]
