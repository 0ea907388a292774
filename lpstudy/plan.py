"""`python -m lpstudy.plan NAME`: what a study would do and about how long it would take; nothing is run."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lpstudy import study
from lpstudy.command import arguments as flags
from lpstudy.command.claims import missing_claims
from lpstudy.command.console import duration
from lpstudy.command.exits import DONE, ending, refusing
from lpstudy.command.phases import bank_words
from lpstudy.command.prepare import Prepared, demand_of, feasible, prepare, sizes
from lpstudy.cost import cost, cost_of
from lpstudy.distill import Needs
from lpstudy.distill.bp import BP
from lpstudy.ledger import SEARCH_SEED
from lpstudy.space import Arm, Trial
from lpstudy.space.ranges import corners
from lpstudy.teacher import Bank, OnlineTeacher, images_at_once, untrained_teacher
from lpstudy.terminal import show
from lpstudy.training import Targets, seconds_of
from lpstudy.training.precision import resolved

TIMED = 64
"""Images that the teacher is timed by, at most."""
EVALUATION = 1 / 3
"""Work of one evaluated image over that of one trained image: a forward pass of three."""


@dataclass(frozen=True, slots=True)
class Line:
    """An arm in figures."""

    arm: str
    student: str
    parameters: int
    macs: int
    infeasible: float
    """Share of the designs in reach that are above the limits."""
    seconds: float
    """Of one run, all epochs."""


def parser() -> ArgumentParser:
    """The command's flags."""
    made = flags.parser("plan", "Show what a study would do and about how long it would take; runs nothing.")
    flags.add_study(made)
    flags.add_demand(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = parser().parse_args(argv)
    return ending("plan", lambda: _plan(given))


def _plan(given: Namespace) -> int:
    with refusing():
        prepared = prepare(given)
        demand = demand_of(given, prepared)
        at_once = study.concurrent_trials(demand, study.machines())
    torch.set_num_threads(1)
    spec, data = prepared.spec, prepared.data
    device = torch.device("cuda" if demand.gpus_per_trial else "cpu")
    running = _teacher(prepared, device)
    teacher = _targets(prepared, running, device)
    size = cost(running.network, data.input_shape)
    parts = f"{len(data.train)} train, {len(data.validation)} validation, {len(data.test)} test"
    show(f"{spec.name}: {data.name}, {parts}")
    show(f"teacher {spec.teacher.network.label()}: {size.parameters:,} parameters, {size.macs:,} MACs")
    show(f"teacher's outputs: {bank_words(prepared.plan)}", *prepared.weights.notes)
    for remark in prepared.remarks:
        show(f"warning: data: {remark}")
    lines = [_line(arm, prepared, teacher, device) for arm in spec.arms()]
    show("", f"{'arm':<30} {'student':<20} {'parameters':>12} {'MACs':>16} {'infeasible':>10} {'one run':>8}")
    for line in lines:
        figures = (
            f"{line.parameters:>12,} {line.macs:>16,} {line.infeasible:>10.0%} {duration(line.seconds):>8}"
        )
        show(f"{line.arm:<30} {line.student:<20} {figures}")
    budget = spec.budget
    runs = budget.trials + budget.seeds
    show(
        "",
        f"{len(lines)} arms x ({budget.trials} trials + {budget.seeds} finals) = {len(lines) * runs} runs"
        f" of {budget.epochs} epochs, {at_once} at once",
    )
    taught = 0.0 if spec.teacher.weights else _teacher_seconds(prepared, device)
    cpus, gpus = study.resources()
    fillers = max(1, int(gpus if demand.gpus_per_trial else cpus))
    filled = _filling_seconds(prepared, running, device) / fillers
    total = taught + filled + sum(line.seconds for line in lines) * runs / at_once
    show(
        f"about {duration(total)} without pruning, {duration(taught)} of it for a teacher that is new and"
        f" {duration(filled)} for its outputs"
    )
    for lacking in missing_claims(spec):
        show(lacking)
    return DONE


def _teacher(prepared: Prepared, device: torch.device) -> OnlineTeacher:
    """The network with weights of no worth: a step takes as long."""
    data, spec = prepared.data, prepared.spec.teacher
    network = untrained_teacher(spec, data)
    macs = cost(network, data.input_shape).macs
    return OnlineTeacher(network, macs, device=device, bf16=resolved(spec.precision, device))


def _targets(prepared: Prepared, teacher: OnlineTeacher, device: torch.device) -> Targets:
    """A bank as the study's will be, but of zeros that take no room; or the teacher itself."""
    plan = prepared.plan
    if not plan.kept:
        return teacher
    dtype = torch.float16 if plan.dtype == "fp16" else torch.float32
    zero = torch.zeros((), dtype=dtype)
    kept = {output.name: zero.expand(plan.views, plan.samples, *output.shape) for output in plan.kept}
    return Bank(kept, teacher.network, teacher.macs(Needs(logits=True), 1), teacher, device)


def _filling_seconds(prepared: Prepared, teacher: OnlineTeacher, device: torch.device) -> float:
    """Of all views on one core or GPU, from one timed batch; 0 where nothing is kept."""
    plan, data = prepared.plan, prepared.data.on(device)
    if not plan.kept:
        return 0.0
    most = images_at_once(prepared.spec.teacher, data, device)
    rows = torch.arange(min(TIMED, plan.samples, most))
    seconds = []
    for _ in range(2):  # the first one is a warm-up
        began = time.monotonic()
        for batch in data.train.showing(0, rows, batch_size=TIMED, device=device):
            teacher.outputs(batch, Needs(logits=True)).logits.sum().item()
        seconds.append(time.monotonic() - began)
    return seconds[-1] * plan.views * plan.samples / len(rows)


def _line(arm: Arm, prepared: Prepared, teacher: Targets, device: torch.device) -> Line:
    spec, data = prepared.spec, prepared.data
    fits = feasible(arm, spec, data)
    middle = fits[len(fits) // 2]
    values = next(corners(arm.searched)) | middle
    trial = arm.resolve(values, epochs=spec.budget.epochs, seed=SEARCH_SEED)
    size = cost_of(trial.student, input_shape=data.input_shape, classes=data.classes)
    return Line(
        arm=arm.name,
        student=trial.student.label(),
        parameters=size.parameters,
        macs=size.macs,
        infeasible=1 - len(fits) / len(sizes(arm)),
        seconds=_seconds(trial, prepared, teacher, device),
    )


def _teacher_seconds(prepared: Prepared, device: torch.device) -> float:
    spec = prepared.spec.teacher
    trial = Trial(
        student=spec.network, method=BP(), training=spec.training, epochs=spec.epochs, seed=spec.seed
    )
    return _seconds(trial, prepared, None, device)


def _seconds(trial: Trial, prepared: Prepared, teacher: Targets | None, device: torch.device) -> float:
    """Of a whole run, from some timed steps."""
    data, batch = prepared.data.using(prepared.plan.views), trial.training.batch_size
    step, end = seconds_of(trial, data, teacher, device=device)
    trained = max(1, len(data.train) // batch)
    alone = 3 * cost_of(trial.student, input_shape=data.input_shape, classes=data.classes).macs
    needs = trial.method.teacher_needs(teacher.network) if teacher else Needs()
    seen_before = max(prepared.plan.views, trial.epochs) + 1  # an epoch whose view a bank has paid for
    run_online = teacher.macs(needs, seen_before) if teacher else 0
    share = alone / (alone + run_online)
    evaluated = EVALUATION * share * len(data.validation) / batch
    return trial.epochs * (step * (trained + evaluated) + end)


if __name__ == "__main__":
    sys.exit(main())
