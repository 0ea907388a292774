"""A sweep's phases, from the teacher to the report, while this process holds the study's lease."""

import time
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lpstudy import terminal, tracking
from lpstudy.cache import shared_cache
from lpstudy.command.begun_study import stored_outputs
from lpstudy.command.budget_notes import budget_notes
from lpstudy.command.exits import (
    DONE,
    FAULT,
    MLFLOW_BEHIND,
    FaultError,
    errors_as_bad_input,
)
from lpstudy.command.latencies import judge_designs, measure_winners
from lpstudy.command.mlflow_client import make_projection
from lpstudy.command.phase_progress import on_terminal, with_announcement
from lpstudy.command.prepare import PreparedStudy
from lpstudy.command.publish import print_report, publish
from lpstudy.command.quantities import count_states, duration
from lpstudy.command.starting_weights import share_weights, student_hashes
from lpstudy.command.study_session import END_STATES, StudySession
from lpstudy.command.teacher_phases import TeacherPhases
from lpstudy.command.trial_phase import TrialPhase
from lpstudy.data import configured_root
from lpstudy.ledger import FINAL_TEACHERS, OUTPUTS, SEEDS, Ledger
from lpstudy.study import (
    Backend,
    StudyInputs,
    StudyPaths,
)
from lpstudy.teacher import TrainedTeacher, teacher_key
from lpstudy.tracking import Client

PROJECTION_SECONDS = 60.0
"""How long a finished study waits for MLflow."""
INTERRUPTED_SECONDS = 10.0
"""How long a study that is paused or fails waits for MLflow."""


@dataclass
class Sweep:
    """A study from its teacher to its report, while this process holds its lease."""

    args: Namespace
    command: str
    """The command line that is part of the provenance."""
    prepared: PreparedStudy
    backend: Backend
    session: StudySession
    client: Client
    stack: ExitStack
    started_at: float
    """Start of the command on the monotonic clock."""

    def run(self) -> int:
        """Run the study, or rewrite the report of a finished one; returns the exit code."""
        if self.backend.is_joined:
            self._watch()
        with errors_as_bad_input():
            ledger = self.ledger
        if self.prepared.earlier_study is not None and (
            words := self.prepared.earlier_study.change(ledger.spec)
        ):
            terminal.say(f"the study has changed: {words}")
        ledger.adopt_unfinished()
        is_resumed = bool(ledger.records())
        if ledger.is_complete():
            terminal.say(f"study {ledger.spec.name!r} is finished; rewriting its report")
            error = self._project(None)
        else:
            self._start()
            judge_designs(ledger, self.prepared.data)
            error = self._project(self._teacher_and_bank())
            if {SEEDS, FINAL_TEACHERS} & ledger.facts.keys():  # decided since the study was first described
                error = self._project(None)
        if ledger.is_complete() and measure_winners(ledger, self.prepared.data):
            error = self._project(None)
        return self.publish(error, "; this start took" if is_resumed else " in")

    @cached_property
    def ledger(self) -> Ledger:
        """The study's ledger.

        Raises:
            ValueError: The study was started with other settings or data.
        """
        prepared = self.prepared
        spec, data, earlier_study = prepared.spec, prepared.data, prepared.earlier_study
        shape = data.input_shape
        ledger = Ledger(self.session.storage, spec, input_shape=shape, classes=data.classes)
        hashes = student_hashes(spec, prepared.weights)
        ledger.check_unchanged(teacher_key(spec.teacher, data), data.fingerprint[:16], hashes)
        outputs = prepared.plan.decisions(None if earlier_study is None else earlier_study.outputs(data))
        ledger.set_fact(OUTPUTS, stored_outputs(outputs))
        if prepared.warm_start is not None:
            ledger.set_first_points(prepared.warm_start)
        return ledger

    @property
    def data_root(self) -> Path | None:
        """The folder of the data, where the flags or the study file name one."""
        root: Path | None = self.args.data_root or configured_root(self.prepared.spec.data)
        return root.resolve() if root else None

    @cached_property
    def inputs(self) -> StudyInputs:
        """What the study computes from, with shared copies of its weights files."""
        prepared = self.prepared
        paths = StudyPaths(self.session.control.folder, self.data_root)
        with errors_as_bad_input():
            paths = replace(paths, weights=share_weights(prepared.weights))
        located = {"data": prepared.spec.data.located(), "shift": prepared.spec.shift.located()}
        spec = prepared.spec.model_copy(update=located)
        return StudyInputs(spec, prepared.data, prepared.plan, paths, prepared.imported)

    def _watch(self) -> None:
        folders = {"--storage": self.session.control.folder, "LPSTUDY_CACHE": shared_cache().resolve()}
        with errors_as_bad_input():
            self.backend.watch(self.stack, self.session.control, folders)

    def _start(self) -> None:
        """Start the backend, and pause the study at signals from now on."""
        backend, session = self.backend, self.session
        if not backend.is_joined:
            if backend.starting:
                with errors_as_bad_input(), with_announcement(backend.starting):
                    backend.start(self.stack)
            self._watch()
        terminal.warn(*(f"data: {remark}" for remark in self.prepared.remarks))
        terminal.warn(*self.prepared.network_remarks)
        for note in (
            *self.prepared.weights.notes,
            *self.prepared.warm_start_lines,
            *budget_notes(self.ledger, self.ledger.spec.budget),
        ):
            terminal.say(f"note: {note}")
        self.stack.enter_context(session.pause_on_signals(self.args.grace))
        backend.say = terminal.say
        gauges = backend.gauges()
        session.gauges.add(**gauges)
        self.stack.callback(session.gauges.remove, *gauges)  # before the backend ends

    def _teacher_and_bank(self) -> TrainedTeacher:
        """Train the teacher and compute its outputs, or find them in the cache."""
        return self._teacher_phases.run(self.inputs, self.command)

    def teacher_with_outputs(self, inputs: StudyInputs) -> TrainedTeacher:
        """Another teacher with its outputs: see `TeacherPhases.with_outputs`."""
        return self._teacher_phases.with_outputs(inputs)

    @property
    def _teacher_phases(self) -> TeacherPhases:
        return TeacherPhases(self.prepared, self.backend, self.session, self.ledger)

    def _project(self, teacher: TrainedTeacher | None) -> str | None:
        """Run the trials, if any remain, while MLflow follows; returns why MLflow lags behind, else None."""
        projection = make_projection(self.ledger, self.prepared, self.client, self.session)
        projection.start()
        patience = INTERRUPTED_SECONDS
        try:
            if teacher is not None:
                self.session.state = {"state": "running"}
                TrialPhase(self, teacher, projection).run()
            patience = PROJECTION_SECONDS
        finally:
            self.session.deadline.is_disarmed = True
            projection.close(seconds=patience)
        return projection.error

    def publish(self, mlflow_error: str | None, took: str) -> int:
        """Write the report, unless MLflow lags behind; returns the exit code.

        Args:
            mlflow_error: Why MLflow lags behind, else None.
            took: The words before the duration.
        """
        name, session = self.ledger.spec.name, self.session
        request = session.control.request
        state = "finished" if self.ledger.is_complete() else END_STATES.get(request, "unfinished")
        session.state = {"state": state}
        if mlflow_error is None:
            try:
                with on_terminal("writing the report"):
                    published = publish(self.client, name, self.args.reports)
                print_report(published, name)
            except tracking.MLFLOW_ERRORS as error:
                mlflow_error = tracking.reason(error)
        states = count_states(self.ledger.records())
        summary = ", ".join(f"{n} {state}" for state, n in states.items())
        terminal.show(f"{summary}{took} {duration(time.monotonic() - self.started_at)}")
        if mlflow_error is not None:
            raise FaultError(
                f"MLflow lags behind ({mlflow_error}): `lpstudy reconcile {name}` updates it once it answers,"
                f" then `lpstudy report {name}` writes the report",
                MLFLOW_BEHIND,
            )
        return DONE if states["finished"] or request in END_STATES else FAULT
