"""Distillation methods, one per file: hyperparameters, the teacher's outputs that are read, loss."""

from lpstudy.distill.method import Distillation, Loss, Needs, Step, StepContext
from lpstudy.distill.registry import METHODS, Method, register_method

__all__ = ["METHODS", "Distillation", "Loss", "Method", "Needs", "Step", "StepContext", "register_method"]
