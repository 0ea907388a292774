"""The study's ledger: hands out runs and keeps what they report. An Optuna storage is its only truth."""

import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState

from lpstudy.cost import cost_of
from lpstudy.ledger import samplers
from lpstudy.ledger.design_limits import Limits
from lpstudy.ledger.optuna_storage import Storage
from lpstudy.ledger.reader import LedgerReader, stored_spec
from lpstudy.ledger.records import Assignment, Done, State, Waiting
from lpstudy.ledger.row_models import ATTEMPT, EPOCHS, FINAL
from lpstudy.ledger.storage import engine_of, open_storage
from lpstudy.ledger.storage_mirror import StorageMirror, open_study
from lpstudy.ledger.study_progress import POINTS, epochs_of
from lpstudy.ledger.study_rows import FORMAT, Rows, check_rows
from lpstudy.ledger.untried import UntriedSampler
from lpstudy.outputs import EpochResult
from lpstudy.space import Arm, StudySpec, changed_settings

TRIES = 200
"""Infeasible suggestions in a row after which an arm is given up."""

OF_HYPERPARAMETERS = ("nan: ", "oom: ")
"""Begins of the causes that lie in what was tried, and not in the machine."""
RESTORE = "restore what was, choose another name, or give --fresh"
CANCELLED = "cancelled"
"""Cause of a run that was ended by `lpstudy cancel`."""


class Ledger(LedgerReader):
    """The one writer of a study's storage, which it reads once; `accept` and `take` come first.

    Who may write is settled by a `Lease` of the same storage, held before.
    """

    def __init__(
        self,
        storage: str | Storage,
        spec: StudySpec,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
    ) -> None:
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        written = open_storage(storage) if isinstance(storage, str) else storage
        self.engine = engine_of(written)
        """Of the storage that it was opened with."""
        check_rows(self.engine, spec.name)
        meta = open_study(written, spec.name, 1)
        arms = {arm.name: arm.objectives for arm in spec.arms()}
        search = {arm: open_study(written, f"{spec.name}/{arm}", n) for arm, n in arms.items()}
        finals = {arm: open_study(written, f"{spec.name}/{arm}/finals", 1) for arm in arms}
        studies = (meta, *search.values(), *finals.values())
        self.spec = spec
        self._copies = StorageMirror(written, studies, lambda trial: self._values(epochs_of(trial)))
        self._storage = self._copies.storage
        copy = self._copies.study
        self._meta: optuna.Study = copy(meta.study_name)
        self._search: dict[str, optuna.Study] = {arm: copy(one.study_name) for arm, one in search.items()}
        self._finals: dict[str, optuna.Study] = {arm: copy(one.study_name) for arm, one in finals.items()}
        rows = Rows(self._meta, self._search, self._finals)
        super().__init__(spec, rows, input_shape=input_shape, classes=classes)
        self._limits = Limits(spec, input_shape=input_shape, classes=classes)
        self._pruner, self._rungs = samplers.pruner(spec.budget), samplers.rungs(spec.budget)
        self._retaken: list[Assignment] = []
        self._unsaid: dict[int, list[str]] = {}

    def _study(self, assignment: Assignment) -> optuna.Study:
        return (self._search if assignment.kind == "trial" else self._finals)[assignment.arm]

    def _trial(self, assignment: Assignment) -> FrozenTrial:
        return self._storage.get_trial(assignment.storage_id)

    def check_unchanged(self, content: str, images: str = "") -> None:
        """Hold the space and its content against what the study began with, and keep them.

        Args:
            content: Hash of the images and of the weights that are read, which a path does not tell.
            images: Of the images alone.

        Raises:
            ValueError: They differ in more than trials, seeds and hours; the differences are named.
        """
        attributes = self._meta.user_attrs
        stored, begun = attributes.get("spec"), attributes.get("content", content)
        if stored is not None and (
            changes := changed_settings(stored_spec(self.spec.name, stored), self.spec)
        ):
            raise ValueError(
                f"study {self.spec.name!r} has begun with another space: {'; '.join(changes)}; {RESTORE}"
            )
        if begun != content:
            what = "weights" if attributes.get("images", not images) == images else "images"
            raise ValueError(
                f"study {self.spec.name!r} has begun with other {what} ({begun} -> {content}); {RESTORE}"
            )
        self.set_fact("format", FORMAT)
        self.set_fact("content", content)
        self.set_fact("images", images)
        self.set_fact("spec", dump(self.spec))
        self.set_fact("input_shape", list(self.input_shape))
        self.set_fact("classes", self.classes)
        points = {name: self._limits.points(arm) for name, arm in self.arms.items()}
        self.set_fact(POINTS, {name: count for name, count in points.items() if count is not None})
        if "id" not in self._meta.user_attrs:
            self.set_fact("id", uuid.uuid4().hex)

    def adopt_unfinished(self) -> None:
        """Take over what an earlier process left running; `next` hands it out first."""
        self._retaken = list(self._retake())

    def set_fact(self, key: str, value: object) -> None:
        """Keep a fact of the whole study; `value` must be fit for JSON."""
        self._copies.set_fact(self._meta, key, value)

    def _retake(self) -> Iterator[Assignment]:
        for name in self.arms:
            for study in (self._search[name], self._finals[name]):
                for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    attempt = trial.user_attrs.get(ATTEMPT, 1)
                    self._copies.set(trial._trial_id, ATTEMPT, attempt + 1)
                    yield self._assignment(name, self._storage.get_trial(trial._trial_id))

    def next(self, *, searching: bool = True) -> Assignment | Waiting | Done:
        """The next run; `searching` false: no new trial of the search, only what was begun and finals."""
        if self._retaken:
            return self._retaken.pop(0)
        short = self._short()
        if searching and short:
            name = min(short, key=self._counted)
            trial = self._ask(name)
            return trial if trial is not None else self.next(searching=searching)
        return self._next_final(set(short) if searching else set())

    def _ask(self, name: str) -> Assignment | None:
        arm, study = self.arms[name], self._search[name]
        for _ in range(TRIES):
            trials = study.get_trials(deepcopy=False)
            tried = [trial.params for trial in trials if trial.state != TrialState.FAIL]
            study.sampler = samplers.sampler(arm, self.spec.budget, len(trials), tried)
            if isinstance(study.sampler, UntriedSampler) and not study.sampler.left:
                break
            trial = study.ask()
            feasible = self._fill(trial, arm)
            self._copies.add(study, trial._trial_id)
            if feasible:
                return self._assignment(name, self._storage.get_trial(trial._trial_id))
        self.set_fact("exhausted", sorted({*self.exhausted_arms, name}))
        return None

    def _fill(self, trial: optuna.Trial, arm: Arm) -> bool:
        """Suggest what the arm searches; an infeasible design is told at once, and false."""
        values = samplers.suggest(trial, arm)
        over = self._limits.excess(arm, values)
        for key, excess in over.items():
            trial.set_constraint(key, excess)
        if any(excess > 0 for excess in over.values()):
            trial.set_user_attr("infeasible", over)
            trial.study.tell(trial, state=TrialState.PRUNED)
            return False
        return True

    def _next_final(self, searching: set[str]) -> Assignment | Waiting | Done:
        waiting = bool(searching)
        for seed in range(1, self.spec.budget.seeds + 1):
            for name, study in self._finals.items():
                if self._running(self._search[name]) or name in searching:
                    waiting = True
                    continue
                winner = self.winner(name)
                if winner is None or seed not in self._unseen(name):
                    continue
                trial = study.ask()
                final = {"number": winner.number, "seed": seed, "values": dict(winner.params)}
                trial.set_user_attr(FINAL, final)
                self._copies.add(study, trial._trial_id)
                return self._assignment(name, self._storage.get_trial(trial._trial_id))
        waiting = waiting or any(self._running(study) for study in self._finals.values())
        return Waiting() if waiting else Done()

    def is_running(self, assignment: Assignment) -> bool:
        """Whether the run has not ended."""
        return self._storage.get_trial(assignment.storage_id).state == TrialState.RUNNING

    def report(self, assignment: Assignment, results: Sequence[EpochResult]) -> bool:
        """Keep epochs, in one transaction, and say whether the trial is to be pruned now.

        Those that are known already stay as they are, but what is new in their warnings, as of a checkpoint
        that was refused, is told with the next one. All that was trained is kept; a trial whose last epoch is
        among them has nothing to save any more, and is not pruned.
        """
        trial = self._storage.get_trial(assignment.storage_id)
        if trial.state != TrialState.RUNNING:
            return False
        known = {epoch.epoch: epoch.warnings for epoch in epochs_of(trial)}
        said = {line for lines in known.values() for line in lines}
        unsaid = self._unsaid.setdefault(assignment.storage_id, [])
        rows: list[dict[str, Any]] = []
        prune = False
        for result in results:
            if result.epoch in known:
                unsaid += [line for line in result.warnings if line not in said and line not in unsaid]
                continue
            rows.append(replace(result, warnings=tuple(dict.fromkeys([*unsaid, *result.warnings]))).as_row())
            unsaid.clear()
            self._show(assignment, result)
            prune = prune or self._judge(assignment, result)
        if rows:
            values = {row["epoch"]: row["metrics"]["validation_accuracy"] for row in rows}
            key = f"{EPOCHS}{rows[0]['epoch']:06d}"
            self._copies.set_epochs(assignment.storage_id, key, rows, values)
            self._copies.write_rungs(assignment.storage_id, trial.system_attrs.keys())
        return prune and not any(result.epoch == self.spec.budget.epochs for result in results)

    def rungs(self, assignment: Assignment) -> tuple[int, ...]:
        """The epochs after which the run may be pruned: it has to wait there until `report` has answered."""
        if assignment.kind == "final" or len(self._study(assignment).directions) > 1:
            return ()
        return self._rungs

    def _show(self, assignment: Assignment, result: EpochResult) -> None:
        """Have the pruner see an epoch."""
        if self.rungs(assignment):
            for epoch, accuracy in self._values([result]).items():
                self._storage.set_trial_intermediate_value(assignment.storage_id, epoch, accuracy)

    def _judge(self, assignment: Assignment, result: EpochResult) -> bool:
        """Whether the pruner gives the trial up after this epoch."""
        if result.epoch not in self.rungs(assignment):
            return False
        trial = self._storage.get_trial(assignment.storage_id)
        return self._pruner.prune(self._study(assignment), trial)

    def _values(self, results: Iterable[EpochResult]) -> dict[int, float]:
        """What the pruner looks at, by epoch."""
        first = samplers.spared(self.spec.budget)
        return {r.epoch: r.metrics["validation_accuracy"] for r in results if r.epoch >= first}

    def finish(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        """Tell the end of a run, once; a run that has ended stays as it is."""
        if not self.is_running(assignment):
            return
        study, budget, number = self._study(assignment), self.spec.budget, assignment.storage_id
        record = self.record(assignment)
        if state == "finished" and len(record.epochs) < budget.epochs:
            state, cause = "failed", f"ended after {len(record.epochs)} of {budget.epochs} epochs"
        if cause is not None:
            self._copies.set(number, "cause", cause)
        trial = self._storage.get_trial(number)
        match state:
            case "finished":
                values = [record.last["validation_accuracy"]]
                if len(study.directions) > 1:
                    spec = self.arms[assignment.arm].student_spec(assignment.values)
                    cost = cost_of(spec, input_shape=self.input_shape, classes=self.classes)
                    values.append(float(cost.macs))
                study.tell(trial.number, values)
            case "pruned":
                study.tell(trial.number, state=TrialState.PRUNED)
            case _ if assignment.kind == "trial" and (cause or "").startswith(OF_HYPERPARAMETERS):
                self._mark_bad(number)
                study.tell(trial.number, state=TrialState.PRUNED)
            case _:
                study.tell(trial.number, state=TrialState.FAIL)
        self._copies.end(number)

    def _mark_bad(self, number: int) -> None:
        """Have the sampler avoid a trial's region.

        TPE passes over failed trials, but learns from infeasible ones: they are worse to it than any other.
        """
        known = self._storage.get_trial(number).system_attrs.keys()
        self._storage.set_trial_system_attr(number, f"{_CONSTRAINTS_KEY}:failed", 1.0)
        self._copies.write_rungs(number, known)

    def cancel(self) -> list[Assignment]:
        """Fail every run that has not ended; which they were."""
        self._retaken.clear()
        running = [record.assignment for record in self.records() if record.state == "running"]
        for assignment in running:
            self.finish(assignment, "failed", CANCELLED)
        return running

    def set_attempt(self, assignment: Assignment, attempt: int) -> None:
        """Keep which attempt of a run is under way."""
        if self._storage.get_trial(assignment.storage_id).user_attrs.get(ATTEMPT, 1) != attempt:
            self._copies.set(assignment.storage_id, ATTEMPT, attempt)


def dump(spec: StudySpec) -> dict[str, Any]:
    """A study as JSON that `parse` reads back."""
    table: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    return table
