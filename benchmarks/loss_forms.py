"""Losses as others have them: of torchdistill 1.1.5 where it has the same one, else in plain PyTorch.

Each takes what lpstudy's takes, so that both get the same tensors.

Source: torchdistill.losses.mid_level. Its SPKDLoss divides rows by the sum of their absolute values, and its
CCKDLoss takes the root of the sum: those two are written here as their papers have them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from boxed import installed
from torch import Tensor
from torch.nn import functional

from lpstudy.methods.at import at_loss
from lpstudy.methods.cc import cc_loss
from lpstudy.methods.dist import dist_terms
from lpstudy.methods.dkd import dkd_terms
from lpstudy.methods.pkt import pkt_loss
from lpstudy.methods.reductions import attention
from lpstudy.methods.rkd import angle_loss, distance_loss
from lpstudy.methods.soft_targets import kd_loss, standardized
from lpstudy.methods.sp import sp_loss
from lpstudy.methods.wttm import wttm_loss

T = 4.0
GAMMA, ORDER = 0.4, 2
"""Of CC's kernel."""
LOGITS, FEATURES, MAPS, ONE_SIZE = "logits", "features", "maps", "maps of one size"

Form = Callable[[Tensor, Tensor], Tensor]
"""(student, teacher) -> loss."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A loss of lpstudy, its counterpart, and what both are computed from."""

    inputs: str
    """LOGITS, FEATURES, MAPS or ONE_SIZE."""
    lpstudy: Form
    other: Form
    source: str
    """`torchdistill` or `plain`."""


def plain_dkd(student: Tensor, teacher: Tensor) -> Tensor:
    """TCKD + 2 NCKD with masks, the target being the class of the sample's number."""
    targets = _targets(student)
    is_target = functional.one_hot(targets, student.shape[1]).bool()

    def parts(logits: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = (logits / T).softmax(1)
        target = (probabilities * is_target).sum(1, keepdim=True)
        return torch.cat((target, 1 - target), 1), logits / T - 1000 * is_target

    (q, other_q), (p, other_p) = parts(student), parts(teacher)
    tckd = functional.kl_div(q.log(), p, reduction="batchmean")
    nckd = functional.kl_div(other_q.log_softmax(1), other_p.softmax(1), reduction="batchmean")
    return T**2 * (tckd + 2 * nckd)


def _targets(logits: Tensor) -> Tensor:
    return torch.arange(len(logits), device=logits.device) % logits.shape[1]


def lpstudy_dkd(student: Tensor, teacher: Tensor) -> Tensor:
    """The same by lpstudy."""
    tckd, nckd = dkd_terms(student, teacher, _targets(student), temperature=T)
    return tckd + 2 * nckd


def plain_wttm(student: Tensor, teacher: Tensor) -> Tensor:
    """Powers of the teacher's probabilities, their sum, and the divergence from them."""
    powers = teacher.softmax(1) ** 0.2
    sums = powers.sum(1)
    divergences = functional.kl_div(student.log_softmax(1), powers / sums[:, None], reduction="none").sum(1)
    return (sums * divergences).mean()


def plain_sp(student: Tensor, teacher: Tensor) -> Tensor:
    """Gram matrices of maps, their rows divided by their lengths."""
    one, other = (functional.normalize(maps.flatten(1) @ maps.flatten(1).T) for maps in (student, teacher))
    return (one - other).square().sum() / len(one) ** 2


def plain_cc(student: Tensor, teacher: Tensor) -> Tensor:
    """The kernel's series row by row, as torchdistill has it."""

    def rows(features: Tensor) -> Tensor:
        units = functional.normalize(features)
        series = []
        for unit in units:
            cosines = units @ unit
            powers = (cosines**p * (2 * GAMMA) ** p / math.factorial(p) for p in range(ORDER + 1))
            series.append(math.exp(-2 * GAMMA) * sum(powers, start=torch.zeros_like(cosines)))
        return torch.stack(series)

    return (rows(student) - rows(teacher)).square().mean()


def pairs() -> dict[str, Pair]:
    """All comparisons by name; those with torchdistill only where it is installed."""
    found = {
        "dkd": Pair(LOGITS, lpstudy_dkd, plain_dkd, "plain"),
        "wttm": Pair(LOGITS, lambda s, t: wttm_loss(s, t, gamma=0.2), plain_wttm, "plain"),
        "sp": Pair(MAPS, lambda s, t: sp_loss(s.flatten(1), t.flatten(1)), plain_sp, "plain"),
        "cc": Pair(FEATURES, lambda s, t: cc_loss(s, t, gamma=GAMMA, order=ORDER), plain_cc, "plain"),
    }
    return found | (_of_torchdistill() if installed() else {})


def _of_torchdistill() -> dict[str, Pair]:
    from torchdistill.losses import mid_level as losses

    ends = ("m", "output", "m", "output")
    pair = {"teacher": {"io": "output", "path": "m"}, "student": {"io": "output", "path": "m"}}
    standard = losses.LogitStdKDLoss(*ends, temperature=T, alpha=0.0)

    def form(loss: Callable[..., Tensor], factor: float = 1.0) -> Form:
        return lambda s, t: factor * loss({"m": {"output": s}}, {"m": {"output": t}})

    def add(terms: tuple[Tensor, Tensor]) -> Tensor:
        return terms[0] + terms[1]

    return {
        "kd": Pair(
            LOGITS,
            lambda s, t: kd_loss(s, t, temperature=T),
            form(losses.KDLoss(*ends, temperature=T, alpha=0.0), T**2),
            "torchdistill",
        ),
        "kd standardised": Pair(
            LOGITS,
            lambda s, t: kd_loss(standardized(s), standardized(t), temperature=T),
            form(standard, T**2),
            "torchdistill",
        ),
        "dist": Pair(
            LOGITS,
            lambda s, t: add(dist_terms(s, t, temperature=T)),
            form(losses.DISTLoss(*ends, tau=T)),
            "torchdistill",
        ),
        "pkt": Pair(FEATURES, pkt_loss, form(losses.PKTLoss(*ends)), "torchdistill"),
        "rkd": Pair(
            FEATURES,
            lambda s, t: distance_loss(s, t) + 2 * angle_loss(s, t),
            form(losses.RKDLoss("m", "m", 1.0, 2.0, "mean")),
            "torchdistill",
        ),
        "at": Pair(
            ONE_SIZE,
            lambda s, t: at_loss(s, attention(t)),
            form(losses.ATLoss({"one": pair})),
            "torchdistill",
        ),
    }
