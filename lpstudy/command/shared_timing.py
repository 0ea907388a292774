"""What the plan of a study expects of teacher and bank, which all arms share, from timed steps."""

import time

import torch

from lpstudy.command.estimated_spending import run_figures
from lpstudy.command.prepare import PreparedStudy
from lpstudy.data import Data
from lpstudy.methods import Needs
from lpstudy.methods.bp import BP
from lpstudy.space import RunSpec
from lpstudy.spending import BANK, TEACHER, PhaseSpending
from lpstudy.teacher import OnlineTeacher, teacher_chunk_size, teaching_data
from lpstudy.training import RunSeconds, time_run

TIMED_IMAGES = 64
"""Maximum number of images for timing the teacher."""


def run_seconds(timed: RunSeconds, trial: RunSpec, data: Data, test: int = 0) -> float:
    """Seconds of a run; with `test` images that it evaluates at its end."""
    steps = data.train.steps(trial.training.batch_size)
    return timed.total(epochs=trial.epochs, steps=steps, validation=len(data.validation), test=test)


def teacher_spending(prepared: PreparedStudy, device: torch.device, gpus: float) -> PhaseSpending:
    """What the teacher's training takes, with its validation and test at the end."""
    spec = prepared.spec.teacher
    data = teaching_data(spec, prepared.data)
    trial = RunSpec(
        student=spec.network, method=BP(), training=spec.training, epochs=spec.epochs, seed=spec.seed
    )
    timed = time_run(trial, data.with_views(prepared.plan.views), None, device=device)
    seconds = run_seconds(timed, trial, data, test=len(data.validation) + len(data.test))
    figures = run_figures(seconds, timed.cpu, gpus)
    return PhaseSpending(TEACHER, macs=timed.training_macs, figures=figures)


def bank_spending(
    prepared: PreparedStudy, teacher: OnlineTeacher, device: torch.device, gpus: float
) -> PhaseSpending:
    """What all views of the bank take."""
    plan = prepared.plan
    seconds = _bank_seconds(prepared, teacher, device)
    macs = float(plan.views * plan.samples * teacher.macs(Needs(logits=True), 1))
    return PhaseSpending(BANK, macs=macs, figures=run_figures(seconds, 1.0, gpus))


def _bank_seconds(prepared: PreparedStudy, teacher: OnlineTeacher, device: torch.device) -> float:
    """Seconds for all views of the bank on one core or GPU, from one timed batch; 0 without a bank."""
    plan, data = prepared.plan, prepared.data.to(device)
    if not plan.banked_outputs:
        return 0.0
    chunk_size = teacher_chunk_size(prepared.spec.teacher, data, device)
    rows = torch.arange(min(TIMED_IMAGES, plan.samples, chunk_size))
    seconds = []
    for _ in range(2):  # the first one is a warm-up
        started_at = time.monotonic()
        for batch in data.train.one_view(0, rows, batch_size=TIMED_IMAGES, device=device):
            teacher.outputs(batch, Needs(logits=True)).logits.sum().item()
        seconds.append(time.monotonic() - started_at)
    return seconds[-1] * plan.views * plan.samples / len(rows)
