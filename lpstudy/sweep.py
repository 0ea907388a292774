"""`python -m lpstudy.sweep NAME`: run a study from its teacher to its report, or resume it."""

import shlex
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import NoReturn

from lpstudy import study, terminal, tracking
from lpstudy.command import arguments as flags
from lpstudy.command.budget_notes import budget_notes
from lpstudy.command.exits import (
    DONE,
    FAULT,
    INTERRUPTED,
    MLFLOW_BEHIND,
    PAUSED,
    TERMINATED,
    FaultError,
    errors_as_bad_input,
    exit_code_of,
    leaving_at_signals,
)
from lpstudy.command.faults import WORDS, remedy_of
from lpstudy.command.mlflow_client import LAGS, connect_client, make_projection
from lpstudy.command.overview import ledger_url, will_resume
from lpstudy.command.phases import (
    fill_bank_with_progress,
    on_terminal,
    retry_after_pause,
    train_teacher_with_progress,
)
from lpstudy.command.prepare import PreparedStudy, check_writable, prepare, resources_of
from lpstudy.command.progress import Console
from lpstudy.command.provenance import data_facts, provenance
from lpstudy.command.publish import print_report, publish
from lpstudy.command.quantities import count_states, duration
from lpstudy.command.ray_session import enter_session, mention_job_folder, watch_ray
from lpstudy.command.starting_weights import content_hash, share_weights
from lpstudy.command.study_session import GRACE, StudySession
from lpstudy.data import configured_root
from lpstudy.disk import is_storage_error, storage_error
from lpstudy.ledger import Assignment, FencedError, Ledger, UnwritableError
from lpstudy.redaction import without_credentials
from lpstudy.study import Capacity, PausedError, StudyPaths, TrialResources
from lpstudy.teacher import BankPlan, TrainedTeacher
from lpstudy.tracking import Client, Projection

PROJECTION_SECONDS = 60.0
"""How long a finished study waits for MLflow."""
INTERRUPTED_SECONDS = 10.0
"""How long a study that is paused or fails waits for MLflow."""
END_STATES = {"stop": "stopped", "cancel": "cancelled"}


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser("sweep", "Run a study, or resume it where it stopped.")
    flags.add_study(parser)
    flags.add_imports(parser)
    flags.add_storage(parser)
    flags.add_reports(parser)
    flags.add_resources(parser)
    parser.add_argument(
        "--grace",
        type=flags.seconds,
        default=GRACE,
        metavar="SECONDS",
        help="time for trials to write a checkpoint after SIGTERM or Ctrl-C (default: 30)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start a new study; the old one is archived under another name"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    command = without_credentials(shlex.join(["python", "-m", "lpstudy.sweep", *argv]))
    return exit_code_of("sweep", lambda: _sweep(args, command))


def _sweep(args: Namespace, command: str) -> int:
    started_at = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(leaving_at_signals())
        with errors_as_bad_input(lambda: will_resume(args)):
            ledger_url(args.storage, args.ledger)
            with on_terminal("loading the data"):
                prepared = prepare(args)
            resources = resources_of(args, prepared)
            check_writable(args.storage)
            check_writable(args.reports)
            name = prepared.spec.name
            client = connect_client(args, name)
            if study.cluster_address() is None:
                study.check_machine()
            else:
                enter_session(stack, resources)
            session = StudySession(args.storage.resolve() / name, args.ledger, name, fresh=args.fresh)
            session.before_exit = lambda: exit_code_of("sweep", lambda: _abandon(session))
            stack.enter_context(session.running())
        if session.previous_process is not None:
            terminal.say(f"resuming after {session.previous_process}, which stopped sending heartbeats")
        mention_job_folder(args)
        try:
            return _run_study(args, command, prepared, resources, client, session, stack, started_at)
        except (PausedError, UnwritableError, KeyboardInterrupt, SystemExit) as error:
            raise _fault_of_pause(session, error) from error
        except FencedError as error:
            raise FaultError(str(error)) from error
        except Exception as error:  # of any kind: it may be how a lost Ray shows
            if isinstance(error, OSError) and is_storage_error(error):
                raise _fault_of_pause(session, storage_error(error)) from error
            if not session.ray_lost():
                raise
            raise _fault_of_pause(session, error) from error


def _run_study(
    args: Namespace,
    command: str,
    prepared: PreparedStudy,
    resources: TrialResources,
    client: Client,
    session: StudySession,
    stack: ExitStack,
    started_at: float,
) -> int:
    """Run the study from its teacher to its report, while this process holds the lease."""
    is_cluster = study.cluster_address() is not None
    if is_cluster:
        watch_ray(stack, session)
    with errors_as_bad_input():
        ledger = _ledger(session, prepared)
    ledger.adopt_unfinished()
    took = "; this start took" if ledger.records() else " in"
    teacher, capacity, control = None, None, session.control
    root = args.data_root or configured_root(prepared.spec.data)
    paths = StudyPaths(control.folder, root.resolve() if root else None, imported=prepared.imported)
    if ledger.is_complete():
        terminal.say(f"study {ledger.spec.name!r} is finished; rewriting its report")
    else:
        if not is_cluster:
            enter_session(stack, resources)
            watch_ray(stack, session)
        with errors_as_bad_input():
            paths = replace(paths, weights=share_weights(prepared.weights))
        terminal.warn(*(f"data: {remark}" for remark in prepared.remarks))
        for note in (*prepared.weights.notes, *budget_notes(ledger, ledger.spec.budget)):
            terminal.say(f"note: {note}")
        stack.enter_context(session.pause_on_signals(args.grace))
        capacity = study.Capacity(resources, terminal.say)
        session.gauges.add(waiting=capacity.shortage, nodes=study.nodes)
        stack.callback(session.gauges.remove, "waiting", "nodes")  # before Ray ends
        session.state = {"state": "teacher"}
        teacher = retry_after_pause(
            control, lambda: train_teacher_with_progress(prepared, paths, resources, control)
        )
        ledger.set_fact("data", data_facts(prepared))
        ledger.set_fact("teacher", {k: v for k, v in asdict(teacher).items() if k != "folder"})
        ledger.set_fact("provenance", provenance(prepared, teacher, resources, command))
        session.state = {"state": "bank"}
        retry_after_pause(
            control, lambda: fill_bank_with_progress(prepared, teacher, paths, resources, control)
        )
    projection = make_projection(ledger, prepared, client, session)
    projection.start()
    patience = INTERRUPTED_SECONDS
    try:
        if teacher is not None and capacity is not None:
            session.state = {"state": "running"}
            _run_trials(ledger, teacher, prepared.plan, projection, paths, capacity, session)
        patience = PROJECTION_SECONDS
    finally:
        session.deadline.is_disarmed = True
        projection.close(seconds=patience)
    return _publish(ledger, client, args, took, started_at, projection.error, session)


def _abandon(session: StudySession) -> NoReturn:
    """Kill Ray and raise the error of a paused study; called from another thread if the main thread hangs."""
    study.kill_own_processes()
    raise _fault_of_pause(session, PausedError())


def _fault_of_pause(session: StudySession, error: BaseException) -> FaultError:
    """The message and exit code of a study that ends before its last run."""
    if isinstance(session.control.fault, FencedError):
        return FaultError(str(session.control.fault))
    current = session.control.current
    early_reason = TERMINATED if isinstance(error, SystemExit) else ""  # before Ray was there
    message = "" if isinstance(error, KeyboardInterrupt | SystemExit) else error
    why = str(session.control.fault or message or current.why or early_reason)
    if current.request in ("stop", "cancel"):
        session.state = {"state": END_STATES[current.request]}
        return FaultError(f"{END_STATES[current.request]} before its first trial", DONE)
    session.state = {"state": "paused", "why": why}
    if (isinstance(error, KeyboardInterrupt) and not current.is_exit) or current.signal == signal.SIGINT:
        return FaultError("interrupted; run the same command to resume", INTERRUPTED)
    return FaultError(f"paused: {why}{WORDS[remedy_of(session.control.fault or error)]}", PAUSED)


def _ledger(session: StudySession, prepared: PreparedStudy) -> Ledger:
    data = prepared.data
    ledger = Ledger(session.storage, prepared.spec, input_shape=data.input_shape, classes=data.classes)
    ledger.check_unchanged(content_hash(prepared.spec, data, prepared.weights), data.fingerprint[:16])
    return ledger


def _run_trials(
    ledger: Ledger,
    teacher: TrainedTeacher,
    plan: BankPlan,
    projection: Projection,
    paths: StudyPaths,
    capacity: Capacity,
    session: StudySession,
) -> None:
    """Run trials and finals, while the projection follows in MLflow."""
    console = Console(ledger, live=sys.stderr.isatty(), teacher=teacher)
    control = session.control
    reported_error = None

    def changed(assignment: Assignment) -> None:
        nonlocal reported_error
        projection.note_change(assignment)
        console.changed(assignment)
        if projection.error is not None and reported_error is None:
            reported_error = projection.error
            console.say(f"{LAGS}{reported_error}")

    capacity.say = console.say
    console.say(f"starting trials, {capacity()} at once")
    session.gauges.add(
        mlflow=lambda: projection.error,
        behind=lambda: projection.pending_runs,
        rate=console.rate,
        eta=console.eta,
        workers=lambda: control.live_trials * capacity.resources.workers_per_trial,
    )
    try:
        while True:
            try:
                return study.run(ledger, teacher, plan, paths, capacity, changed, control)
            except PausedError:
                if control.current.is_exit:
                    raise
                console.say(
                    f"paused by {control.current.why}; resume with `lpstudy resume {ledger.spec.name}`"
                )
                control.wait()
                ledger.adopt_unfinished()
    finally:
        console.close()


def _publish(
    ledger: Ledger,
    client: Client,
    args: Namespace,
    took: str,
    started_at: float,
    mlflow_error: str | None,
    session: StudySession,
) -> int:
    name = ledger.spec.name
    request = session.control.request
    session.state = {"state": "finished" if ledger.is_complete() else END_STATES.get(request, "unfinished")}
    if mlflow_error is None:
        try:
            with on_terminal("writing the report"):
                published = publish(client, name, args.reports)
            print_report(published, name)
        except tracking.MLFLOW_ERRORS as error:
            mlflow_error = tracking.reason(error)
    states = count_states(ledger.records())
    summary = ", ".join(f"{n} {state}" for state, n in states.items())
    terminal.show(f"{summary}{took} {duration(time.monotonic() - started_at)}")
    if mlflow_error is not None:
        raise FaultError(
            f"MLflow lags behind ({mlflow_error}): `lpstudy reconcile {name}` updates it once it answers,"
            f" then `lpstudy report {name}` writes the report",
            MLFLOW_BEHIND,
        )
    return DONE if states["finished"] or request in END_STATES else FAULT


if __name__ == "__main__":
    sys.exit(main())
