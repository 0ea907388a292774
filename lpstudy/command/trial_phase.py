"""The phase of a sweep in which its runs are trained: trials, candidates, and finals seed by seed."""

import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lpstudy import terminal
from lpstudy.command.mlflow_client import LAGS
from lpstudy.command.progress import Console
from lpstudy.command.seed_looks import add_seeds
from lpstudy.data import load
from lpstudy.ledger import FINAL_TEACHERS, Assignment
from lpstudy.study import Driver, PausedError, RunJobs, StudyInputs, run_all
from lpstudy.teacher import TrainedTeacher, plan_bank
from lpstudy.tracking import Projection

if TYPE_CHECKING:
    from lpstudy.command.sweep_phases import Sweep


@dataclass
class TrialPhase:
    """The runs of a sweep, with its teacher, while MLflow follows."""

    sweep: "Sweep"
    teacher: TrainedTeacher
    projection: Projection

    def __post_init__(self) -> None:
        live = sys.stderr.isatty() or terminal.in_notebook()
        self._console = Console(self.sweep.ledger, live=live, teacher=self.teacher)
        self._reported_error: str | None = None

    def run(self) -> None:
        """Run everything that remains; returns when the study is complete, or at stop or cancel."""
        sweep, console, projection = self.sweep, self._console, self.projection
        session, backend = sweep.session, sweep.backend
        backend.say = console.say
        console.say(f"starting trials, {backend.capacity()} at once")
        session.gauges.add(
            mlflow=lambda: projection.error,
            behind=lambda: projection.pending_runs,
            rate=console.rate,
            eta=console.eta,
            workers=lambda: session.control.live_trials * backend.resources.workers_per_trial,
        )
        jobs = backend.jobs(sweep.ledger, sweep.inputs, self.teacher, session.control)
        try:
            self._prepare_seeds(jobs, sweep.ledger.seeds_of_running_finals())
            while True:
                self._train(jobs)
                if session.control.request != "run" or not self._has_more(jobs):
                    return
        finally:
            console.close()

    def _train(self, jobs: RunJobs) -> None:
        """Train what can be trained now, over pauses."""
        sweep, session, backend = self.sweep, self.sweep.session, self.sweep.backend
        while True:
            try:
                driver = Driver(
                    sweep.ledger,
                    session.control,
                    jobs,
                    self._changed,
                    ends_runs=not backend.runs_end_themselves,
                )
                return run_all(driver, backend.train_runs)
            except PausedError:
                if session.control.current.is_exit:
                    raise
                why = session.control.current.why
                self._console.say(f"paused by {why}; resume with `lpstudy resume {sweep.ledger.spec.name}`")
                session.control.wait()
                sweep.ledger.adopt_unfinished()

    def _has_more(self, jobs: RunJobs) -> bool:
        """Whether finals remain, once their seeds have teachers and the finals have been looked at."""
        if seeds := self.sweep.ledger.unprepared_seeds():
            self._prepare_seeds(jobs, seeds)
            return True
        lines = add_seeds(self.sweep.ledger)
        for line in lines:
            self._console.say(line)
        return bool(lines)

    def _prepare_seeds(self, jobs: RunJobs, seeds: Collection[int]) -> None:
        """Train the teachers of some seeds of the finals, and compute their outputs, where these vary."""
        sweep = self.sweep
        for seed in sorted(seeds):
            self._console.say(f"seed {seed} of the finals: {' and '.join(sweep.ledger.spec.finals.vary[1:])}")
            inputs = inputs_of_seed(sweep.inputs, seed, sweep.data_root)
            teacher = sweep.teacher_with_outputs(inputs)
            figures = {"sha256": teacher.sha256, "test_accuracy": teacher.test_accuracy}
            known = sweep.ledger.facts.get(FINAL_TEACHERS, {})
            sweep.ledger.set_fact(FINAL_TEACHERS, {**known, str(seed): figures})
            jobs.of_seeds[seed] = sweep.backend.context(inputs, teacher)
            sweep.ledger.final_order.prepare(seed)
        if seeds:
            sweep.session.state = {"state": "running"}

    def _changed(self, assignment: Assignment) -> None:
        projection, console = self.projection, self._console
        projection.note_change(assignment)
        console.changed(assignment)
        if projection.error is not None and self._reported_error is None:
            self._reported_error = projection.error
            console.say(f"{LAGS}{projection.error}")


def inputs_of_seed(study: StudyInputs, seed: int, data_root: Path | None) -> StudyInputs:
    """What the finals of a seed compute from, where teacher or split vary from seed to seed.

    Args:
        study: What the search computes from.
        seed: The seed of the finals, which is added to those of the study file.
        data_root: The folder of the data.
    """
    spec, data = study.spec, study.data
    if "teacher" in spec.finals.vary:
        teacher = spec.teacher.model_copy(update={"seed": spec.teacher.seed + seed})
        spec = spec.model_copy(update={"teacher": teacher})
    if "split" in spec.finals.vary:
        split = spec.data.model_copy(update={"split_seed": spec.data.split_seed + seed})
        spec, data = spec.model_copy(update={"data": split}), load(split, root=data_root)
    plan = plan_bank(spec, data, study.plan.decisions(None))
    return replace(study, spec=spec, data=data, plan=plan)
