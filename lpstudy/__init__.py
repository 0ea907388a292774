"""Distributed hyperparameter studies of knowledge distillation."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from lpstudy.version import __version__

if TYPE_CHECKING:
    from lpstudy.api.distillation import distill
    from lpstudy.api.errors import StudyStoppedError
    from lpstudy.api.study import BestArm, Study
    from lpstudy.data import Arrays, DataSpec
    from lpstudy.deployment.classifier import Classifier, Prediction, load
    from lpstudy.epoch_result import EpochResult
    from lpstudy.methods import Distillation, Loss, Needs, Step, cross_entropy
    from lpstudy.methods.at import AT
    from lpstudy.methods.bp import BP
    from lpstudy.methods.cc import CC
    from lpstudy.methods.crd import CRD
    from lpstudy.methods.dist import DIST
    from lpstudy.methods.dkd import DKD
    from lpstudy.methods.fitnet import FitNet
    from lpstudy.methods.fm import FM
    from lpstudy.methods.kd import KD
    from lpstudy.methods.lp import LP
    from lpstudy.methods.pkt import PKT
    from lpstudy.methods.reviewkd import ReviewKD
    from lpstudy.methods.rkd import RKD
    from lpstudy.methods.simkd import SimKD
    from lpstudy.methods.sp import SP
    from lpstudy.methods.srrl import SRRL
    from lpstudy.methods.wttm import WTTM
    from lpstudy.model_file import TrainedModel, load_model
    from lpstudy.outputs import Network, Outputs
    from lpstudy.space import StudySpec, Training
    from lpstudy.students import StudentSpec, build

__all__ = [
    "AT",
    "BP",
    "CC",
    "CRD",
    "DIST",
    "DKD",
    "FM",
    "KD",
    "LP",
    "PKT",
    "RKD",
    "SP",
    "SRRL",
    "WTTM",
    "Arrays",
    "BestArm",
    "Classifier",
    "DataSpec",
    "Distillation",
    "EpochResult",
    "FitNet",
    "Loss",
    "Needs",
    "Network",
    "Outputs",
    "Prediction",
    "ReviewKD",
    "SimKD",
    "Step",
    "StudentSpec",
    "Study",
    "StudySpec",
    "StudyStoppedError",
    "TrainedModel",
    "Training",
    "__version__",
    "build",
    "cross_entropy",
    "distill",
    "load",
    "load_model",
]

METHODS = (
    *("AT", "BP", "CC", "CRD", "DIST", "DKD", "FM", "FitNet", "KD", "LP", "PKT", "RKD", "ReviewKD"),
    *("SP", "SRRL", "SimKD", "WTTM"),
)
MODULES = {name: f"methods.{name.lower()}" for name in METHODS} | {
    "Arrays": "data",
    "BestArm": "api.study",
    "Classifier": "deployment.classifier",
    "DataSpec": "data",
    "Distillation": "methods",
    "EpochResult": "epoch_result",
    "Loss": "methods",
    "Needs": "methods",
    "Network": "outputs",
    "Outputs": "outputs",
    "Prediction": "deployment.classifier",
    "Step": "methods",
    "StudentSpec": "students",
    "Study": "api.study",
    "StudySpec": "space",
    "StudyStoppedError": "api.errors",
    "TrainedModel": "model_file",
    "Training": "space",
    "build": "students",
    "cross_entropy": "methods",
    "distill": "api.distillation",
    "load": "deployment.classifier",
    "load_model": "model_file",
}
"""The module of each public name: a name is imported when it is first read, because torch takes seconds."""


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name not in MODULES:
        raise AttributeError(f"module 'lpstudy' has no attribute {name!r}")
    value = getattr(import_module(f"lpstudy.{MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names and the modules that are loaded."""
    return sorted({*globals(), *__all__})


if sys.flags.optimize > 1:
    from lpstudy.optimized import restart

    restart()
