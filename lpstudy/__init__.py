"""Distributed hyperparameter studies of knowledge distillation."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from lpstudy.version import __version__

if TYPE_CHECKING:
    from lpstudy.api.errors import StudyStoppedError
    from lpstudy.api.study import BestArm, Study
    from lpstudy.data import Arrays, DataSpec
    from lpstudy.deployment.classifier import Classifier, Prediction, load
    from lpstudy.distill import Distillation, Loss, Needs, Step, cross_entropy
    from lpstudy.distill.at import AT
    from lpstudy.distill.bp import BP
    from lpstudy.distill.cc import CC
    from lpstudy.distill.crd import CRD
    from lpstudy.distill.dist import DIST
    from lpstudy.distill.dkd import DKD
    from lpstudy.distill.fitnet import FitNet
    from lpstudy.distill.fm import FM
    from lpstudy.distill.kd import KD
    from lpstudy.distill.lp import LP
    from lpstudy.distill.pkt import PKT
    from lpstudy.distill.reviewkd import ReviewKD
    from lpstudy.distill.rkd import RKD
    from lpstudy.distill.simkd import SimKD
    from lpstudy.distill.sp import SP
    from lpstudy.distill.srrl import SRRL
    from lpstudy.distill.wttm import WTTM
    from lpstudy.epoch_result import EpochResult
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
    "load",
    "load_model",
]

METHODS = (
    *("AT", "BP", "CC", "CRD", "DIST", "DKD", "FM", "FitNet", "KD", "LP", "PKT", "RKD", "ReviewKD"),
    *("SP", "SRRL", "SimKD", "WTTM"),
)
MODULES = {name: f"distill.{name.lower()}" for name in METHODS} | {
    "Arrays": "data",
    "BestArm": "api.study",
    "Classifier": "deployment.classifier",
    "DataSpec": "data",
    "Distillation": "distill",
    "EpochResult": "epoch_result",
    "Loss": "distill",
    "Needs": "distill",
    "Network": "outputs",
    "Outputs": "outputs",
    "Prediction": "deployment.classifier",
    "Step": "distill",
    "StudentSpec": "students",
    "Study": "api.study",
    "StudySpec": "space",
    "StudyStoppedError": "api.errors",
    "TrainedModel": "model_file",
    "Training": "space",
    "build": "students",
    "cross_entropy": "distill",
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
