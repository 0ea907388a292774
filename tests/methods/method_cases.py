"""The built-in methods, each with its defaults and with what changes its loss."""

from typing import get_args

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
from lpstudy.methods.lp_graphs import GraphName
from lpstudy.methods.method import Distillation
from lpstudy.methods.pkt import PKT
from lpstudy.methods.reviewkd import ReviewKD
from lpstudy.methods.rkd import RKD
from lpstudy.methods.simkd import SimKD
from lpstudy.methods.sp import SP
from lpstudy.methods.srrl import SRRL
from lpstudy.methods.wttm import WTTM

CASES: dict[str, Distillation] = {
    "bp": BP(),
    "kd": KD(),
    "fm": FM(temperature=2.0),
    "fitnet two_stage": FitNet(),
    "fitnet joint": FitNet(mode="joint"),
    "fitnet named maps": FitNet(mode="joint", hint="conv1", guided="conv3"),
    "kd standardised": KD(standardize=True, temperature=2.0, weight=9.0),
    "dkd": DKD(),
    "dkd standardised": DKD(standardize=True),
    "dist": DIST(),
    "wttm": WTTM(),
    "at": AT(),
    "at of named maps": AT(layers=("conv2", "conv3"), teacher_layers=("conv1", "conv1")),
    "sp": SP(),
    "sp of several maps": SP(layers=("conv1", "conv3")),
    "pkt": PKT(),
    "pkt_kd": PKT(kd_weight=1.0),
    "rkd": RKD(),
    "rkd of distances": RKD(angle_weight=0.0),
    "cc": CC(),
    "lp": LP(),
    "lp normalised": LP(normalize=True),
    "lp of maps": LP(layer="conv2", teacher_layer="conv1"),
    "lp of several layers": LP(layers=("conv1", "embedding"), teacher_layers=("conv3", "embedding")),
    **{f"lp {graph}": LP(graph=graph) for graph in get_args(GraphName)},
    "lp_kd": LP(kd_weight=1.0),
    "crd": CRD(),
    "crd_kd": CRD(kd_weight=1.0, n_negatives=10, feature_dim=4),
    "srrl": SRRL(),
    "reviewkd": ReviewKD(),
    "reviewkd of named maps": ReviewKD(layers=("conv1", "conv2"), teacher_layers=("conv1", "conv1")),
    "simkd": SimKD(),
    "simkd with labels": SimKD(ce_weight=1.0),
    "simkd of averages": SimKD(teacher_layer="embedding"),
}
