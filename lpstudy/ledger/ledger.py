"""The study's ledger: hands out runs and keeps what they report. An Optuna storage is its only truth."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from lpstudy.cost import cost_of
from lpstudy.ledger import samplers
from lpstudy.ledger.book import EPOCH, Book
from lpstudy.ledger.records import Assignment, State
from lpstudy.outputs import EpochResult
from lpstudy.space import Arm, StudySpec, difference, parse

TRIES = 200
"""Infeasible suggestions in a row after which an arm is given up."""


class Waiting:
    """Nothing to hand out before a running trial ends."""


class Done:
    """Everything the study wants has been done."""


class Ledger(Book):
    """The one writer of a study's storage; `accept` and `take` come first."""

    def __init__(self, url: str, spec: StudySpec, *, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(url, spec, input_shape=input_shape, classes=classes)
        self._retaken: list[Assignment] = []
        self._kept: dict[int, set[int] | None] = {}

    def accept(self, content: str) -> None:
        """Hold the space and its content against what the study began with, and keep them.

        Args:
            content: Hash of the images and the teacher, which a path does not tell.

        Raises:
            ValueError: They differ in more than trials, seeds and hours; the differences are named.
        """
        begun = self._meta.user_attrs.get("content", content)
        if begun != content:
            raise ValueError(
                f"study {self.spec.name!r} has begun with other images or another teacher"
                f" ({begun} -> {content}); restore them, choose another name, or give --fresh"
            )
        stored = self._meta.user_attrs.get("spec")
        if stored is not None:
            changes = difference(parse(stored, "the ledger"), self.spec)
            if changes:
                raise ValueError(
                    f"study {self.spec.name!r} has begun with another space: {'; '.join(changes)}; "
                    "restore it, choose another name, or give --fresh"
                )
        self._meta.set_user_attr("content", content)
        self._meta.set_user_attr("spec", dump(self.spec))
        self._meta.set_user_attr("input_shape", list(self.input_shape))
        self._meta.set_user_attr("classes", self.classes)
        if "id" not in self._meta.user_attrs:
            self._meta.set_user_attr("id", uuid.uuid4().hex)

    def take(self) -> None:
        """Take over what an earlier process left running; `next` hands it out first."""
        self._retaken = list(self._retake())

    def keep(self, key: str, value: object) -> None:
        """Keep a fact of the whole study; `value` must be fit for JSON."""
        self._meta.set_user_attr(key, value)

    def _retake(self) -> Iterator[Assignment]:
        for name, arm in self.arms.items():
            for study in (self._search[name], self._finals[name]):
                for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    study.sampler = samplers.sampler(arm, self.spec.budget, trial.number)
                    live = optuna.Trial(study, trial._trial_id)
                    if "kind" in trial.user_attrs:
                        live.set_user_attr("attempt", trial.user_attrs["attempt"] + 1)
                    elif study is self._finals[name]:
                        study.tell(trial.number, state=TrialState.FAIL)
                        continue
                    elif not self._fill(live, arm):
                        continue
                    yield self._assignment(name, self._storage.get_trial(trial._trial_id))

    def next(self, *, searching: bool = True) -> Assignment | Waiting | Done:
        """The next run; `searching` false: no new trial of the search, only what was begun and finals."""
        if self._retaken:
            return self._retaken.pop(0)
        counts = {name: self._counted(name) for name in self.arms}
        short = [n for n in counts if counts[n] < self.spec.budget.trials and n not in self.exhausted]
        if searching and short:
            name = min(short, key=lambda arm: counts[arm])
            trial = self._ask(name)
            return trial if trial is not None else self.next(searching=searching)
        return self._next_final(set(short) if searching else set())

    def _ask(self, name: str) -> Assignment | None:
        arm, study = self.arms[name], self._search[name]
        for _ in range(TRIES):
            study.sampler = samplers.sampler(arm, self.spec.budget, len(study.get_trials(deepcopy=False)))
            trial = study.ask()
            if self._fill(trial, arm):
                return self._assignment(name, self._storage.get_trial(trial._trial_id))
        self.keep("exhausted", sorted({*self.exhausted, name}))
        return None

    def _fill(self, trial: optuna.Trial, arm: Arm) -> bool:
        """Suggest what the trial lacks; an infeasible design is told at once, and false."""
        values = samplers.suggest(trial, arm)
        over = self.excess(arm, values)
        for key, excess in over.items():
            trial.set_constraint(key, excess)
        if any(excess > 0 for excess in over.values()):
            trial.set_user_attr("infeasible", over)
            trial.study.tell(trial, state=TrialState.PRUNED)
            return False
        trial.set_user_attr("attempt", 1)
        trial.set_user_attr("kind", "trial")
        return True

    def excess(self, arm: Arm, values: Mapping[str, Any]) -> dict[str, float]:
        """By how much, relative to each limit, a design is above it; empty without limits."""
        limits = self.spec.constraints
        spec = arm.student_spec(values)
        cost = cost_of(spec, input_shape=self.input_shape, classes=self.classes)
        pairs = {"macs": (cost.macs, limits.max_macs), "parameters": (cost.parameters, limits.max_parameters)}
        return {key: have / limit - 1 for key, (have, limit) in pairs.items() if limit is not None}

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
                values = dict(winner.params)
                given = {
                    "number": winner.number,
                    "seed": seed,
                    "values": values,
                    "attempt": 1,
                    "kind": "final",
                }
                for key, value in given.items():
                    trial.set_user_attr(key, value)
                return self._assignment(name, self._storage.get_trial(trial._trial_id))
        waiting = waiting or any(self._running(study) for study in self._finals.values())
        return Waiting() if waiting else Done()

    def running(self, assignment: Assignment) -> bool:
        """Whether the run has not ended; answered from memory, for this process alone writes."""
        return self._known(assignment) is not None

    def _known(self, assignment: Assignment) -> set[int] | None:
        """The epochs that are kept of a run; None once it has ended."""
        number = assignment.storage_id
        if number not in self._kept:
            trial = self._storage.get_trial(number)
            epochs = {int(key.removeprefix(EPOCH)) for key in trial.user_attrs if key.startswith(EPOCH)}
            self._kept[number] = epochs if trial.state == TrialState.RUNNING else None
        return self._kept[number]

    def report(self, assignment: Assignment, result: EpochResult) -> bool:
        """Keep an epoch, unless it is known already. Returns whether to prune the trial."""
        study, number, budget = self._study(assignment), assignment.storage_id, self.spec.budget
        known = self._known(assignment)
        if known is None or result.epoch in known:
            return False
        judged = assignment.kind == "trial" and len(study.directions) == 1
        if judged and result.epoch >= samplers.spared(budget):
            accuracy = result.metrics["validation_accuracy"]
            self._storage.set_trial_intermediate_value(number, result.epoch, accuracy)
        row = {"metrics": dict(result.metrics), "warnings": list(result.warnings)}
        self._storage.set_trial_user_attr(number, f"{EPOCH}{result.epoch:06d}", row)
        known.add(result.epoch)
        if not judged or not samplers.spared(budget) <= result.epoch < budget.epochs:
            return False
        study.pruner = samplers.pruner(budget)
        return optuna.Trial(study, number).should_prune()

    def finish(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        """Tell the end of a run, once; a run that has ended stays as it is."""
        study = self._study(assignment)
        trial = self._storage.get_trial(assignment.storage_id)
        self._kept[assignment.storage_id] = None
        if trial.state != TrialState.RUNNING:
            return
        record = self.record(assignment)
        if cause is not None:
            optuna.Trial(study, assignment.storage_id).set_user_attr("cause", cause)
        if state == "finished" and len(record.epochs) < self.spec.budget.epochs:
            state, cause = "failed", f"ended after {len(record.epochs)} of {self.spec.budget.epochs} epochs"
            optuna.Trial(study, assignment.storage_id).set_user_attr("cause", cause)
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
            case _:
                study.tell(trial.number, state=TrialState.FAIL)

    def attempt(self, assignment: Assignment, attempt: int) -> None:
        """Keep which attempt of a run is under way."""
        optuna.Trial(self._study(assignment), assignment.storage_id).set_user_attr("attempt", attempt)


def dump(spec: StudySpec) -> dict[str, Any]:
    """A study as JSON that `parse` reads back."""
    table: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    return table
