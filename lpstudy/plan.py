"""`python -m lpstudy.plan NAME`: what a study would do and about how long it would take; nothing is run."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from lpstudy import study
from lpstudy.command import arguments as flags
from lpstudy.command.budget_notes import budget_notes, unused_trials_note
from lpstudy.command.claims import missing_claims
from lpstudy.command.estimate import ArmSeconds, Machine, estimate, slowness
from lpstudy.command.exits import DONE, BadInputError, errors_as_bad_input, exit_code_of
from lpstudy.command.formatting import duration
from lpstudy.command.overview import engine_of
from lpstudy.command.phases import bank_words
from lpstudy.command.prepare import PreparedStudy, feasible_sizes, prepare, resources_of, student_sizes
from lpstudy.cost import cost, cost_of
from lpstudy.data import Data
from lpstudy.distill import Needs
from lpstudy.distill.bp import BP
from lpstudy.ledger import SEARCH_SEED, read_ledger
from lpstudy.space import Arm, RunSpec
from lpstudy.space.ranges import corners
from lpstudy.teacher import Bank, OnlineTeacher, teacher_chunk_size, untrained_teacher
from lpstudy.terminal import show
from lpstudy.training import RunSeconds, TeacherOutputs, time_run
from lpstudy.training.precision import uses_bf16

TIMED = 64
"""Images that the teacher is timed by, at most."""


@dataclass(frozen=True, slots=True)
class Line:
    """An arm in figures."""

    arm: str
    student: str
    parameters: int
    macs: int
    infeasible: float
    """Share of the designs in reach that are above the limits."""
    trials: int
    """Of its budget, but at most as many as it has different points."""
    trial: float
    """Seconds of one, all epochs."""
    final: float
    """The same with the test."""


def parser() -> ArgumentParser:
    """The command's flags."""
    made = flags.parser("plan", "Show what a study would do and about how long it would take; runs nothing.")
    flags.add_study(made)
    flags.add_resources(made)
    flags.add_storage(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("plan", lambda: _plan(args))


def _plan(args: Namespace) -> int:
    with errors_as_bad_input():
        prepared = prepare(args)
        resources = resources_of(args, prepared)
        at_once = study.concurrent_trials(resources, study.machines())
    torch.set_num_threads(1)
    spec, data = prepared.spec, prepared.data
    device = torch.device("cuda" if resources.gpus_per_trial else "cpu")
    running = _teacher(prepared, device)
    teacher = _targets(prepared, running, device)
    size = cost_of(spec.teacher.network, input_shape=data.input_shape, classes=data.classes)
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
            f"{line.parameters:>12,} {line.macs:>16,} {line.infeasible:>10.0%} {duration(line.trial):>8}"
        )
        show(f"{line.arm:<30} {line.student:<20} {figures}")
    budget = spec.budget
    runs = sum(line.trials + budget.seeds for line in lines)
    show(
        "",
        f"{len(lines)} arms x ({budget.trials} trials + {budget.seeds} finals) = {runs} runs"
        f" of {budget.epochs} epochs, {at_once} at once",
        *(f"note: {note}" for note in _notes(args, prepared, lines) if note),
    )
    cpus, gpus = study.cluster_resources()
    fillers = max(1, int(gpus if resources.gpus_per_trial else cpus))
    seconds = estimate(
        Machine(at_once, cpus, slowness()),
        teacher=None if spec.teacher.weights else _teacher_seconds(prepared, device),
        outputs=_filling_seconds(prepared, running, device) / fillers
        if prepared.plan.banked_outputs
        else None,
        arms=[ArmSeconds(line.trial, line.final, line.trials, budget.seeds) for line in lines],
    )
    named = ", ".join(f"{name} {duration(part)}" for name, part in seconds.items())
    show(f"about {duration(sum(seconds.values()))} without pruning and with a new teacher: {named}")
    for lacking in missing_claims(spec):
        show(lacking)
    return DONE


def _notes(args: Namespace, prepared: PreparedStudy, lines: Sequence[Line]) -> Iterator[str]:
    """What the budget cannot be used for, and what the study has done already where it was begun."""
    budget = prepared.spec.budget
    name = prepared.spec.name
    try:
        with errors_as_bad_input():
            book = read_ledger(engine_of(args.storage / name, args.ledger), name)
    except BadInputError:  # it was not begun
        yield from (unused_trials_note(line.arm, line.trials, budget) for line in lines)
        return
    done = sum(record.state not in ("running", "infeasible") for record in book.records())
    yield f"the study has begun: {done} runs are done"
    yield from budget_notes(book, budget)


def _teacher(prepared: PreparedStudy, device: torch.device) -> OnlineTeacher:
    """The network with weights of no worth: a step takes as long."""
    data, spec = prepared.data, prepared.spec.teacher
    network = untrained_teacher(spec, data)
    macs = cost(network, data.input_shape).macs
    return OnlineTeacher(network, macs, device=device, bf16=uses_bf16(spec.precision, device))


def _targets(prepared: PreparedStudy, teacher: OnlineTeacher, device: torch.device) -> TeacherOutputs:
    """A bank as the study's will be, but of zeros that take no room; or the teacher itself."""
    plan = prepared.plan
    if not plan.banked_outputs:
        return teacher
    dtype = torch.float16 if plan.dtype == "fp16" else torch.float32
    zero = torch.zeros((), dtype=dtype)
    kept = {
        output.name: zero.expand(plan.views, plan.samples, *output.shape) for output in plan.banked_outputs
    }
    return Bank(kept, teacher.network, teacher.macs(Needs(logits=True), 1), teacher, device)


def _filling_seconds(prepared: PreparedStudy, teacher: OnlineTeacher, device: torch.device) -> float:
    """Of all views on one core or GPU, from one timed batch; 0 where nothing is kept."""
    plan, data = prepared.plan, prepared.data.to(device)
    if not plan.banked_outputs:
        return 0.0
    most = teacher_chunk_size(prepared.spec.teacher, data, device)
    rows = torch.arange(min(TIMED, plan.samples, most))
    seconds = []
    for _ in range(2):  # the first one is a warm-up
        began = time.monotonic()
        for batch in data.train.one_view(0, rows, batch_size=TIMED, device=device):
            teacher.outputs(batch, Needs(logits=True)).logits.sum().item()
        seconds.append(time.monotonic() - began)
    return seconds[-1] * plan.views * plan.samples / len(rows)


def _line(arm: Arm, prepared: PreparedStudy, teacher: TeacherOutputs, device: torch.device) -> Line:
    spec, data = prepared.spec, prepared.data
    fits, all_sizes = feasible_sizes(arm, spec, data), student_sizes(arm)
    middle = fits[len(fits) // 2]
    values = next(corners(arm.searched)) | middle
    trial = arm.resolve(values, epochs=spec.budget.epochs, seed=SEARCH_SEED)
    size = cost_of(trial.student, input_shape=data.input_shape, classes=data.classes)
    timed = time_run(trial, data.with_views(prepared.plan.views), teacher, device=device)
    points = spec.budget.trials if arm.points is None else arm.points * len(fits) // len(all_sizes)
    return Line(
        arm=arm.name,
        student=trial.student.label(),
        parameters=size.parameters,
        macs=size.macs,
        infeasible=1 - len(fits) / len(all_sizes),
        trials=min(spec.budget.trials, points),
        trial=_whole(timed, trial, data),
        final=_whole(timed, trial, data, test=len(data.test)),
    )


def _teacher_seconds(prepared: PreparedStudy, device: torch.device) -> float:
    """Of its training, and of its validation and test at the end."""
    spec, data = prepared.spec.teacher, prepared.data
    trial = RunSpec(
        student=spec.network, method=BP(), training=spec.training, epochs=spec.epochs, seed=spec.seed
    )
    timed = time_run(trial, data.with_views(prepared.plan.views), None, device=device)
    return _whole(timed, trial, data, test=len(data.validation) + len(data.test))


def _whole(timed: RunSeconds, trial: RunSpec, data: Data, test: int = 0) -> float:
    steps = max(1, len(data.train) // trial.training.batch_size)
    return timed.total(epochs=trial.epochs, steps=steps, validation=len(data.validation), test=test)


if __name__ == "__main__":
    sys.exit(main())
