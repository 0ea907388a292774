"""Distillation methods, one per file: hyperparameters, the teacher's outputs that are read, loss."""

from lpstudy.methods.declaration import MethodDeclaration, declaration_of
from lpstudy.methods.loss import Loss, Step, StepContext, cross_entropy
from lpstudy.methods.method import Distillation, Needs, TrainingSamples
from lpstudy.methods.reductions import reduced, register_reduction
from lpstudy.methods.registry import METHODS, Method, declare_method, method_at, register_method

__all__ = [
    "METHODS",
    "Distillation",
    "Loss",
    "Method",
    "MethodDeclaration",
    "Needs",
    "Step",
    "StepContext",
    "TrainingSamples",
    "cross_entropy",
    "declaration_of",
    "declare_method",
    "method_at",
    "reduced",
    "register_method",
    "register_reduction",
]
