"""A teacher and a bank like a study's, without weights: a step with them takes the same time and MACs."""

import torch

from lpstudy.cost import cost
from lpstudy.data import Data
from lpstudy.methods import Needs
from lpstudy.space import TeacherSpec
from lpstudy.teacher import Bank, BankPlan, OnlineTeacher, untrained_teacher
from lpstudy.training import TeacherOutputs
from lpstudy.training.precision import uses_bf16


def teacher_stand_in(spec: TeacherSpec, data: Data, device: torch.device) -> OnlineTeacher:
    """The teacher's network with untrained weights."""
    network = untrained_teacher(spec, data)
    macs = cost(network, data.input_shape).macs
    return OnlineTeacher(network, macs, device=device, bf16=uses_bf16(spec.precision, device))


def outputs_stand_in(plan: BankPlan, teacher: OnlineTeacher) -> TeacherOutputs:
    """A bank like the study's, but of zeros that take no memory; or the teacher itself."""
    if not plan.banked_outputs:
        return teacher
    device = next(teacher.network.parameters()).device
    zero = torch.zeros((), dtype=torch.float16 if plan.dtype == "fp16" else torch.float32)
    outputs = {
        output.name: zero.expand(plan.views, plan.samples, *output.shape) for output in plan.banked_outputs
    }
    return Bank(outputs, teacher.network, teacher.macs(Needs(logits=True), 1), teacher, device)
