"""`python -m lpstudy.plan NAME`: show what a study would do and about how long it takes."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from lpstudy.command import arguments as flags
from lpstudy.command.budget_notes import budget_notes, unused_trials_note
from lpstudy.command.claims import missing_claims
from lpstudy.command.equal_compute import epoch_lines
from lpstudy.command.estimate import ArmSeconds, Machine, estimate, slowness
from lpstudy.command.estimated_spending import keep_estimate, limit_lines, run_figures, spending_lines
from lpstudy.command.exits import DONE, errors_as_bad_input, exit_code_of
from lpstudy.command.latencies import judged_latencies
from lpstudy.command.prepare import PreparedStudy, feasible_sizes, prepare, resources_of, student_sizes
from lpstudy.command.quantities import duration
from lpstudy.command.shared_timing import bank_spending, run_seconds, teacher_spending
from lpstudy.command.study_ledgers import ledger_engine
from lpstudy.command.study_words import bank_words
from lpstudy.command.teacher_stand_in import outputs_stand_in, teacher_stand_in
from lpstudy.cost import cost_of
from lpstudy.ledger import SEARCH_SEED, candidate_runs, read_ledger
from lpstudy.ray_cluster.cluster_address import cluster_address
from lpstudy.seed_range import first_seeds, seeds_words
from lpstudy.space import DEFAULT_CANDIDATES, DEFAULT_FRONT, Arm, RunSpec
from lpstudy.space.ranges import corners
from lpstudy.spending import BANK, TEACHER, PhaseSpending, times
from lpstudy.study import concurrent_trials, this_machine
from lpstudy.terminal import show
from lpstudy.training import RunSeconds, TeacherOutputs, time_run

NOTHING = "–"
"""The text of a duration that was not measured."""


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """The planned cost and number of runs of an arm."""

    arm: str
    student: str
    parameters: int
    macs: int
    infeasible: float
    """Share of the arm's designs that exceed the limits."""
    trials: int
    """Number of trials: the budget's, but at most one for each different point."""
    trial: float | None
    """Seconds of one trial with all its epochs; None where no step was timed."""
    final: float | None
    """Seconds of one final: a trial and its test."""
    candidates: int = 0
    """Number of the candidates' runs."""
    finals: int = 0
    """The most finals: where sizes are searched, of several designs of the front."""
    cpu: float | None = None
    """Seconds of CPU time in a second of a run."""
    training_macs: float | None = None
    """Multiply-accumulates of a run; without the teacher's outputs where a bank holds them."""

    def spending(self, gpus: float) -> Iterator[PhaseSpending]:
        """What the arm's runs will spend; nothing where no step was timed."""
        for phase, seconds, runs in (
            ("trial", self.trial, self.trials),
            ("candidate", self.trial, self.candidates),
            ("final", self.final, self.finals),
        ):
            if runs and seconds is not None and self.cpu is not None:
                figures = run_figures(seconds, self.cpu, gpus)
                yield times(PhaseSpending(phase, self.arm, 1, self.training_macs, figures), runs)


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser(
        "plan", "Show what a study would do and about how long it would take; runs nothing."
    )
    flags.add_study(parser)
    flags.add_imports(parser)
    flags.add_resources(parser)
    flags.add_storage(parser)
    parser.add_argument(
        "--untimed",
        action="store_true",
        help="show arms and sizes alone: no step is timed, nothing is estimated",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("plan", lambda: _plan(args))


def _plan(args: Namespace) -> int:
    with errors_as_bad_input():
        prepared = prepare(args)
        resources = resources_of(args, prepared)
        cluster_address()  # refuses an address that `sweep` would refuse
        machine = this_machine()
        at_once = concurrent_trials(resources, [machine])
    torch.set_num_threads(1)
    spec, data = prepared.spec, prepared.data
    device = torch.device("cuda" if resources.gpus_per_trial else "cpu")
    teacher_network = teacher_stand_in(spec.teacher, data, device)
    teacher = outputs_stand_in(prepared.plan, teacher_network)
    size = cost_of(spec.teacher.network, input_shape=data.input_shape, classes=data.classes)
    labelled = "" if data.train.mixture is None else f" ({data.train.labelled} with labels)"
    sizes = f"{len(data.train)} train{labelled}, {len(data.validation)} validation, {len(data.test)} test"
    show(f"{spec.name}: {data.name}, {sizes}")
    show(f"teacher {spec.teacher.network.label()}: {size.parameters:,} parameters, {size.macs:,} MACs")
    show(
        f"teacher's outputs: {bank_words(prepared.plan)}", *prepared.weights.notes, *prepared.warm_start_lines
    )
    for remark in prepared.remarks:
        show(f"warning: data: {remark}")
    for remark in prepared.network_remarks:
        show(f"warning: {remark}")
    with errors_as_bad_input():
        latencies = {} if args.untimed else judged_latencies(spec, data)
    timing = None if args.untimed else Timing(teacher, device, latencies)
    lines = plan_arms(prepared, timing)
    show("", f"{'arm':<30} {'student':<20} {'parameters':>12} {'MACs':>16} {'infeasible':>10} {'one run':>8}")
    for line in lines:
        one_run = NOTHING if line.trial is None else duration(line.trial)
        figures = f"{line.parameters:>12,} {line.macs:>16,} {line.infeasible:>10.0%} {one_run:>8}"
        show(f"{line.arm:<30} {line.student:<20} {figures}")
    budget = spec.budget
    runs = sum(line.trials + line.candidates + line.finals for line in lines)
    most = max((line.finals for line in lines), default=0)
    fronts = f", up to {most} where sizes are searched" * (most > first_seeds(budget.seeds))
    candidates = max((line.candidates for line in lines), default=0)
    repeats = f" + {candidates} of candidates" * bool(candidates)
    show(
        "",
        f"{len(lines)} arms x ({budget.trials} trials{repeats} + {seeds_words(budget.seeds)} finals{fronts})"
        f" = {runs} runs of {budget.epochs} epochs, {at_once} at once",
        *epoch_lines(spec),
        *(f"note: {note}" for note in _notes(args, prepared, lines) if note),
    )
    if timing is not None:
        gpus = resources.gpus_per_trial
        fillers = max(1, int(machine.gpus if gpus else machine.cpus))
        share = min(1.0, gpus)
        shared = [] if spec.teacher.weights else [teacher_spending(prepared, device, share)]
        if prepared.plan.banked_outputs:
            shared.append(bank_spending(prepared, teacher_network, device, share))
        shared_seconds = {row.phase: row.figures["wall_seconds"] for row in shared}
        outputs = shared_seconds.get(BANK)
        seconds = estimate(
            Machine(at_once, machine.cpus, slowness()),
            teacher=shared_seconds.get(TEACHER),
            outputs=None if outputs is None else outputs / fillers,
            arms=[
                ArmSeconds(line.trial, line.final, line.trials, line.finals, line.candidates)
                for line in lines
                if line.trial is not None and line.final is not None
            ],
        )
        parts = ", ".join(f"{name} {duration(part)}" for name, part in seconds.items())
        show(f"about {duration(sum(seconds.values()))} without pruning and with a new teacher: {parts}")
        spending = [*shared, *(row for line in lines for row in line.spending(gpus))]
        keep_estimate(prepared, spending, gpus=gpus)
        show("", *spending_lines(spending, spec.cost.prices))
        show(*limit_lines(spending, budget, spec.cost.prices))
    for text in missing_claims(spec):
        show(text)
    return DONE


def _notes(args: Namespace, prepared: PreparedStudy, lines: Sequence[ArmPlan]) -> Iterator[str]:
    """Notes on unusable parts of the budget, and on the progress of a study that has started."""
    spec, earlier_study = prepared.spec, prepared.earlier_study
    if earlier_study is None:
        yield from (unused_trials_note(line.arm, line.trials, spec.budget) for line in lines)
        return
    with errors_as_bad_input():
        reader = read_ledger(ledger_engine(args.storage / spec.name, args.ledger), spec.name)
    yield f"the study has started: {reader.ended_runs} runs are done"
    trials = {line.arm: line.trials for line in lines}
    finals = {line.arm: line.finals for line in lines}
    try:
        yield from earlier_study.plan(spec, trials, finals)
    except ValueError as error:
        yield f"a sweep refuses this file: {error}"
    yield from budget_notes(reader, spec.budget)


@dataclass(frozen=True, slots=True)
class Timing:
    """What the steps of an arm are timed with."""

    teacher: TeacherOutputs
    device: torch.device
    latencies: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of the designs where their latency is limited."""

    def of_run(self, trial: RunSpec, prepared: PreparedStudy) -> RunSeconds:
        """The seconds of the parts of a run."""
        data = prepared.data.with_views(prepared.plan.views)
        return time_run(trial, data, self.teacher, device=self.device)


def make_timing(prepared: PreparedStudy, device: torch.device) -> Timing:
    """What an arm's steps are timed with: a teacher of the study's size, and a bank of zeros."""
    spec, data = prepared.spec, prepared.data
    teacher = outputs_stand_in(prepared.plan, teacher_stand_in(spec.teacher, data, device))
    return Timing(teacher, device, judged_latencies(spec, data))


def plan_arms(prepared: PreparedStudy, timing: Timing | None) -> list[ArmPlan]:
    """The plan of each arm; without `timing` no step is timed."""
    return [_line(arm, prepared, timing) for arm in prepared.spec.arms()]


def _line(arm: Arm, prepared: PreparedStudy, timing: Timing | None) -> ArmPlan:
    spec, data = prepared.spec, prepared.data
    latencies = None if timing is None else timing.latencies
    fits, all_sizes = feasible_sizes(arm, spec, data, latencies), student_sizes(arm)
    middle = fits[len(fits) // 2]
    values = next(corners(arm.searched)) | middle
    trial = arm.resolve(values, epochs=arm.epochs, seed=SEARCH_SEED)
    size = cost_of(trial.student, input_shape=data.input_shape, classes=data.classes)
    points = spec.budget.trials if arm.points is None else arm.points * len(fits) // len(all_sizes)
    timed = None if timing is None else timing.of_run(trial, prepared)
    return ArmPlan(
        arm=arm.name,
        student=trial.student.label(),
        parameters=size.parameters,
        macs=size.macs,
        infeasible=1 - len(fits) / len(all_sizes),
        trials=min(spec.budget.trials, points),
        trial=None if timed is None else run_seconds(timed, trial, data),
        final=None if timed is None else run_seconds(timed, trial, data, test=len(data.test)),
        candidates=0
        if arm.objectives > 1
        else candidate_runs(_candidates(prepared), min(spec.budget.trials, points)),
        finals=first_seeds(spec.budget.seeds)
        * (min(_front(prepared), spec.budget.trials, points) if arm.objectives > 1 else 1),
        cpu=None if timed is None else timed.cpu,
        training_macs=None if timed is None else timed.macs(is_banked=bool(prepared.plan.banked_outputs)),
    )


def _candidates(prepared: PreparedStudy) -> int:
    """How many trials of an arm are candidates; a study that has started keeps its number."""
    if prepared.earlier_study is not None:
        return prepared.earlier_study.candidates
    return prepared.spec.finals.candidates or DEFAULT_CANDIDATES


def _front(prepared: PreparedStudy) -> int:
    """How many designs of a front have finals; a study that has started keeps its number unless told."""
    before = DEFAULT_FRONT if prepared.earlier_study is None else prepared.earlier_study.front
    return prepared.spec.finals.front or before


if __name__ == "__main__":
    sys.exit(main())
