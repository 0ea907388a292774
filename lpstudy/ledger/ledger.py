"""The ledger of a study, which assigns runs and stores their reports in an Optuna storage, its only truth."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import optuna
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState

from lpstudy.cost import cost_of
from lpstudy.ledger import samplers
from lpstudy.ledger.arm_rows import WARM_START, WEIGHTS, StoredWarmStart
from lpstudy.ledger.design_limits import DESIGN_LATENCIES, DesignLimits
from lpstudy.ledger.final_order import FinalOrder
from lpstudy.ledger.front_pruner import FRONT_PRUNER
from lpstudy.ledger.growth import arms_with_points, check_content, facts_of_spec
from lpstudy.ledger.opening import open_arms
from lpstudy.ledger.optuna_storage import Storage
from lpstudy.ledger.pruning import Pruning
from lpstudy.ledger.reader import LedgerReader
from lpstudy.ledger.records import Assignment, Done, State, Waiting
from lpstudy.ledger.row_models import ATTEMPT, EPOCHS, FINAL
from lpstudy.ledger.storage import engine_of, open_storage
from lpstudy.ledger.storage_mirror import StorageMirror
from lpstudy.ledger.study_progress import POINTS, StudyRows, epochs_of
from lpstudy.ledger.untried import UntriedSampler
from lpstudy.outputs import EpochResult
from lpstudy.space import Arm, StudySpec

MAX_SUGGESTIONS = 200
"""Consecutive infeasible suggestions after which an arm gets no more trials."""

HYPERPARAMETER_CAUSES = ("nan: ", "oom: ")
"""Prefixes of the causes that lie in the hyperparameters and not in the machine."""
CANCELLED = "cancelled"
"""The cause of a run that `lpstudy cancel` ended."""


class Ledger(LedgerReader):
    """The only writer of a study's storage, which it reads once.

    Call `check_unchanged` and `adopt_unfinished` first, holding a `Lease` of the same storage.
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
        store = open_storage(storage) if isinstance(storage, str) else storage
        self.engine = engine_of(store)
        """The database engine of the storage."""
        opened = open_arms(store, spec)
        self.spec = spec
        facts = opened.facts.user_attrs
        self.pruning = Pruning(spec.budget, facts, self._macs, lambda arm: self.arms[arm].epochs)
        """The rule that stops weak trials."""
        self._mirror = StorageMirror(store, opened.all, self.pruning.accuracies_of)
        self._storage = self._mirror.storage
        copy, names = self._mirror.study, {arm: f"{spec.name}/{arm}" for arm in opened.search}
        self._meta: optuna.Study = copy(spec.name)
        self._search: dict[str, optuna.Study] = {arm: copy(name) for arm, name in names.items()}
        self._finals: dict[str, optuna.Study] = {arm: copy(f"{name}/finals") for arm, name in names.items()}
        rows = StudyRows(self._meta, self._search, self._finals, opened.hidden)
        super().__init__(spec, rows, input_shape=input_shape, classes=classes)
        self.arms = arms_with_points(spec, self.facts)
        latencies = self.facts.get(DESIGN_LATENCIES, {})
        self.limits = DesignLimits(spec, latencies, input_shape=input_shape, classes=classes)
        self._unfinished: list[Assignment] = []
        self.final_order = FinalOrder(waits=spec.finals.new_teachers)
        self._pending_warnings: dict[int, list[str]] = {}

    def _study(self, assignment: Assignment) -> optuna.Study:
        return (self._search if assignment.kind == "trial" else self._finals)[assignment.arm]

    def _trial(self, assignment: Assignment) -> FrozenTrial:
        return self._storage.get_trial(assignment.storage_id)

    def check_unchanged(
        self, content: str, images: str = "", weights: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Check that the content is unchanged since the start, and store it with the study's arms.

        Args:
            content: Hash of the images and of the teacher's weights.
            images: Hash of the images alone.
            weights: SHA-256 of each student's weights file, by the student's label.

        Raises:
            ValueError: It differs; the message says what.
        """
        facts, spec = self.facts, self.spec
        check_content(spec.name, facts, content, images, weights)
        runs = self.ended_runs + sum(self.hidden.values())
        self._mirror.set_facts(
            self._meta,
            {
                "content": content,
                "images": images,
                WEIGHTS: {**facts.get(WEIGHTS, {}), **weights},
                "input_shape": list(self.input_shape),
                "classes": self.classes,
                POINTS: self.limits.points(self.arms),
                FRONT_PRUNER: self.pruning.judges_fronts,
                **facts_of_spec(facts, spec, runs=runs),
            },
        )

    def adopt_unfinished(self) -> None:
        """Adopt the runs that an earlier process did not finish; `next` returns them first."""
        self._unfinished = list(self._restart_unfinished())

    def set_fact(self, key: str, value: object) -> None:
        """Store a fact of the whole study; `value` must be a JSON value."""
        self._mirror.set_facts(self._meta, {key: value})

    def set_first_points(self, warm_start: StoredWarmStart) -> None:
        """Store the first points from another study, those of earlier arms included, and use them."""
        self.set_fact(WARM_START, warm_start.model_dump(mode="json"))
        self.arms = arms_with_points(self.spec, self.facts)

    def _restart_unfinished(self) -> Iterator[Assignment]:
        for name in self.arms:
            for study in (self._search[name], self._finals[name]):
                for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    attempt = trial.user_attrs.get(ATTEMPT, 1)
                    self._mirror.set(trial._trial_id, ATTEMPT, attempt + 1)
                    yield self._assignment(name, self._storage.get_trial(trial._trial_id))

    def next(self, *, searching: bool = True) -> Assignment | Waiting | Done:
        """The next run; with `searching` false only unfinished runs and finals, and no new trial."""
        if self._unfinished:
            return self._unfinished.pop(0)
        arms = self._arms_to_search()
        if searching and arms:
            name = min(arms, key=self._trial_count)
            trial = self._ask(name)
            return trial if trial is not None else self.next(searching=searching)
        return self._next_final(set(arms) if searching else set())

    def _ask(self, name: str) -> Assignment | None:
        arm, study = self.arms[name], self._search[name]
        for _ in range(MAX_SUGGESTIONS):
            trials = study.get_trials(deepcopy=False)
            study.sampler = samplers.sampler(arm, self.spec, trials)
            if isinstance(study.sampler, UntriedSampler) and not study.sampler.untried_count:
                break
            trial = study.ask()
            is_feasible = self._suggest(trial, arm)
            self._mirror.add(study, trial._trial_id)
            if is_feasible:
                return self._assignment(name, self._storage.get_trial(trial._trial_id))
        self.set_fact("exhausted", sorted({*self.exhausted_arms, name}))
        return None

    def _suggest(self, trial: optuna.Trial, arm: Arm) -> bool:
        """Suggest the arm's hyperparameters; prune an infeasible design at once and return False."""
        values = samplers.suggest(trial, arm)
        excesses = self.limits.excess(arm, values)
        for key, excess in excesses.items():
            trial.set_constraint(key, excess)
        if any(excess > 0 for excess in excesses.values()):
            trial.set_user_attr("infeasible", excesses)
            trial.study.tell(trial, state=TrialState.PRUNED)
            return False
        return True

    def _next_final(self, searching: set[str]) -> Assignment | Waiting | Done:
        """The next candidate; once there is none, the next final, seed by seed over all arms."""
        searched = [n for n, study in self._search.items() if not (n in searching or self._running(study))]
        progress = {name: self.finals_progress(name) for name in searched}
        if (final := self.final_order.next(progress)) is not None:
            study = self._finals[final.arm]
            trial = study.ask()
            trial.set_user_attr(FINAL, final.attribute)
            self._mirror.add(study, trial._trial_id)
            return self._assignment(final.arm, self._storage.get_trial(trial._trial_id))
        must_wait = len(searched) < len(self._search) or any(map(self._running, self._finals.values()))
        return Waiting() if must_wait else Done()

    def has_startable_runs(self, *, searching: bool) -> bool:
        """Whether a run remains that can start: finals on seeds that are not prepared cannot."""
        return self.has_pending_runs(searching=searching, seeds=self.final_order.prepared)

    def unprepared_seeds(self) -> set[int]:
        """The seeds of finals to come that have no teacher yet, where each has one of its own."""
        return self.final_order.unprepared(map(self.finals_progress, self.arms))

    def is_running(self, assignment: Assignment) -> bool:
        """Whether the run has not ended."""
        return self._storage.get_trial(assignment.storage_id).state == TrialState.RUNNING

    def report(self, assignment: Assignment, results: Sequence[EpochResult]) -> bool:
        """Store epochs in one transaction and return whether to prune the trial now.

        Stored epochs do not change; a new warning of theirs, for example of a damaged checkpoint, is stored
        with the next epoch. A trial whose last epoch is among the results is never pruned: it has finished.
        """
        trial = self._storage.get_trial(assignment.storage_id)
        if trial.state != TrialState.RUNNING:
            return False
        stored = {epoch.epoch: epoch.warnings for epoch in epochs_of(trial)}
        stored_warnings = {line for lines in stored.values() for line in lines}
        pending = self._pending_warnings.setdefault(assignment.storage_id, [])
        rows: list[dict[str, Any]] = []
        prune = False
        for result in results:
            if result.epoch in stored:
                pending += [w for w in result.warnings if w not in stored_warnings and w not in pending]
                continue
            all_warnings = tuple(dict.fromkeys([*pending, *result.warnings]))
            rows.append(replace(result, warnings=all_warnings).as_row())
            pending.clear()
            self._show_pruner(assignment, result)
            prune = prune or self._is_pruned(assignment, result)
        if rows:
            values = {row["epoch"]: row["metrics"]["validation_accuracy"] for row in rows}
            key = f"{EPOCHS}{rows[0]['epoch']:06d}"
            self._mirror.set_epochs(assignment.storage_id, key, rows, values)
            self._mirror.write_rungs(assignment.storage_id, trial.system_attrs.keys())
        return prune and not any(result.epoch == self.arms[assignment.arm].epochs for result in results)

    def rungs(self, assignment: Assignment) -> tuple[int, ...]:
        """The epochs after which the run may be pruned: the run waits there for the result of `report`."""
        if assignment.kind != "trial":
            return ()
        return self.pruning.rungs(self._study(assignment), assignment.number, assignment.arm)

    def _show_pruner(self, assignment: Assignment, result: EpochResult) -> None:
        """Store an epoch's accuracy where Optuna's pruner reads it."""
        if self.rungs(assignment) and len(self._study(assignment).directions) == 1:
            for epoch, accuracy in self.pruning.accuracies([result]).items():
                self._storage.set_trial_intermediate_value(assignment.storage_id, epoch, accuracy)

    def _is_pruned(self, assignment: Assignment, result: EpochResult) -> bool:
        """Whether the trial stops after this epoch."""
        if result.epoch not in self.rungs(assignment):
            return False
        trial = self._storage.get_trial(assignment.storage_id)
        return self.pruning.is_pruned(self._study(assignment), trial, result, assignment.arm)

    def _macs(self, arm: str, values: Mapping[str, Any]) -> int:
        spec = self.arms[arm].student_spec(values)
        return cost_of(spec, input_shape=self.input_shape, classes=self.classes).macs

    def finish(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        """Store the end of a run; a run that has already ended does not change."""
        if not self.is_running(assignment):
            return
        study, number = self._study(assignment), assignment.storage_id
        record, epochs = self.record(assignment), self.arms[assignment.arm].epochs
        if state == "finished" and len(record.epochs) < epochs:
            state, cause = "failed", f"ended after {len(record.epochs)} of {epochs} epochs"
        if cause is not None:
            self._mirror.set(number, "cause", cause)
        trial = self._storage.get_trial(number)
        match state:
            case "finished":
                values = [record.last["validation_accuracy"]]
                if len(study.directions) > 1:
                    values.append(float(self._macs(assignment.arm, assignment.values)))
                study.tell(trial.number, values)
            case "pruned":
                study.tell(trial.number, state=TrialState.PRUNED)
            case _ if assignment.kind == "trial" and (cause or "").startswith(HYPERPARAMETER_CAUSES):
                self._mark_bad(number)
                study.tell(trial.number, state=TrialState.PRUNED)
            case _:
                study.tell(trial.number, state=TrialState.FAIL)
        self._mirror.end(number)

    def _mark_bad(self, number: int) -> None:
        """Mark a failed trial as infeasible, so that the sampler avoids its region.

        TPE ignores failed trials and ranks infeasible ones below all others.
        """
        previous_keys = self._storage.get_trial(number).system_attrs.keys()
        self._storage.set_trial_system_attr(number, f"{_CONSTRAINTS_KEY}:failed", 1.0)
        self._mirror.write_rungs(number, previous_keys)

    def cancel(self) -> list[Assignment]:
        """Mark every unfinished run as failed; returns those runs."""
        self._unfinished.clear()
        unfinished = [record.assignment for record in self.records() if record.state == "running"]
        for assignment in unfinished:
            self.finish(assignment, "failed", CANCELLED)
        return unfinished

    def set_attempt(self, assignment: Assignment, attempt: int) -> None:
        """Store the number of a run's current attempt."""
        if self._storage.get_trial(assignment.storage_id).user_attrs.get(ATTEMPT, 1) != attempt:
            self._mirror.set(assignment.storage_id, ATTEMPT, attempt)
