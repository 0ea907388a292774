"""The study's ledger: what has been asked, what came of it. An Optuna storage is its only truth."""

import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from lpstudy.cost import cost_of
from lpstudy.ledger import samplers
from lpstudy.ledger.records import Assignment, Record, State
from lpstudy.outputs import EpochResult
from lpstudy.space import Arm, StudySpec, difference, parse

SEARCH_SEED = 0
"""All trials of the search share it; the finals use 1, 2, ...: none repeats a run that was selected."""
TRIES = 200
"""Infeasible suggestions in a row after which an arm is given up."""
_EPOCH = "epoch:"


class Waiting:
    """Nothing to hand out before a running trial ends."""


class Done:
    """Everything the study wants has been done."""


def database(folder: Path) -> str:
    """URL of the ledger in a study's folder."""
    return f"sqlite:///{folder / 'ledger.db'}"


class Ledger:
    """Hands out runs and keeps what they report; one process writes, any may read.

    Args:
        url: An SQLAlchemy URL.
        spec: The study.
        input_shape: (channels, height, width) of the images.
        classes: Number of classes.
    """

    def __init__(self, url: str, spec: StudySpec, *, input_shape: tuple[int, int, int], classes: int) -> None:
        self.spec, self.input_shape, self.classes = spec, input_shape, classes
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._storage = optuna.storages.RDBStorage(url)
        self._meta = self._open(spec.name, 1)
        self.arms = {arm.name: arm for arm in spec.arms()}
        self._search = {
            arm.name: self._open(f"{spec.name}/{arm.name}", arm.objectives) for arm in spec.arms()
        }
        self._finals = {arm.name: self._open(f"{spec.name}/{arm.name}/finals", 1) for arm in spec.arms()}
        self.exhausted: set[str] = set()
        self._retaken: list[Assignment] = []

    def _open(self, name: str, objectives: int) -> optuna.Study:
        directions = (optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE)
        return optuna.create_study(
            storage=self._storage, study_name=name, directions=directions[:objectives], load_if_exists=True
        )

    def accept(self) -> None:
        """Hold the space against the one that the study began with, and keep it.

        Raises:
            ValueError: They differ in more than trials, seeds and hours; the differences are named.
        """
        stored = self._meta.user_attrs.get("spec")
        if stored is not None:
            changes = difference(parse(stored, "the ledger"), self.spec)
            if changes:
                raise ValueError(
                    f"study {self.spec.name!r} has begun with another space: {'; '.join(changes)}; "
                    "restore it, choose another name, or give --fresh"
                )
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

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of the whole study: spec, id, input_shape, classes and what was kept."""
        return self._meta.user_attrs

    def _retake(self) -> Iterator[Assignment]:
        for name in self.arms:
            for study in (self._search[name], self._finals[name]):
                for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    live = optuna.Trial(study, trial._trial_id)
                    if study is self._search[name]:
                        if "kind" not in trial.user_attrs:
                            self._fill(live, self.arms[name])
                    elif "kind" not in trial.user_attrs:
                        study.tell(trial.number, state=TrialState.FAIL)
                        continue
                    live.set_user_attr("attempt", live.user_attrs.get("attempt", 1) + 1)
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

    def _counted(self, name: str) -> int:
        return sum("infeasible" not in t.user_attrs for t in self._search[name].get_trials(deepcopy=False))

    def _ask(self, name: str) -> Assignment | None:
        arm, study = self.arms[name], self._search[name]
        for _ in range(TRIES):
            study.sampler = samplers.sampler(arm, self.spec.budget, len(study.get_trials(deepcopy=False)))
            trial = study.ask()
            if self._fill(trial, arm):
                return self._assignment(name, self._storage.get_trial(trial._trial_id))
        self.exhausted.add(name)
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
                if winner is None:
                    continue
                mine = [
                    t for t in study.get_trials(deepcopy=False) if t.user_attrs.get("number") == winner.number
                ]
                if any(t.user_attrs["seed"] == seed for t in mine):
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

    def _running(self, study: optuna.Study) -> bool:
        return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def winner(self, arm: str) -> FrozenTrial | None:
        """The finished trial with the highest validation accuracy; of equals the first."""
        done = self._search[arm].get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(done, key=lambda trial: (trial.values[0], -trial.number), default=None)

    def _study(self, assignment: Assignment) -> optuna.Study:
        return (self._search if assignment.kind == "trial" else self._finals)[assignment.arm]

    def report(self, assignment: Assignment, result: EpochResult) -> bool:
        """Keep an epoch, unless it is known already. Returns whether to prune the trial."""
        study = self._study(assignment)
        known = self._storage.get_trial(assignment.storage_id)
        key = f"{_EPOCH}{result.epoch:06d}"
        if known.state != TrialState.RUNNING or key in known.user_attrs:
            return False
        trial = optuna.Trial(study, assignment.storage_id)
        row = {"metrics": dict(result.metrics), "warnings": list(result.warnings)}
        trial.set_user_attr(key, row)
        if assignment.kind == "final" or len(study.directions) > 1:
            return False
        trial.report(result.metrics["validation_accuracy"], result.epoch)
        study.pruner = samplers.pruner(self.spec.budget)
        return result.epoch < self.spec.budget.epochs and trial.should_prune()

    def finish(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        """Tell the end of a run, once; a run that has ended stays as it is."""
        study = self._study(assignment)
        trial = self._storage.get_trial(assignment.storage_id)
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

    def _assignment(self, arm: str, trial: FrozenTrial) -> Assignment:
        attributes = trial.user_attrs
        final = attributes.get("kind") == "final"
        return Assignment(
            kind="final" if final else "trial",
            arm=arm,
            number=attributes["number"] if final else trial.number,
            seed=attributes["seed"] if final else SEARCH_SEED,
            values=attributes["values"] if final else dict(trial.params),
            attempt=attributes.get("attempt", 1),
            storage_id=trial._trial_id,
        )

    def record(self, assignment: Assignment) -> Record:
        """What is known of a run now."""
        return self._record(assignment.arm, self._storage.get_trial(assignment.storage_id))

    def records(self) -> list[Record]:
        """Every run of the study, arm by arm, the finals last."""
        pairs = [(n, t) for n, s in self._search.items() for t in s.get_trials(deepcopy=False)]
        finals = [(n, t) for n, s in self._finals.items() for t in s.get_trials(deepcopy=False)]
        return [self._record(n, t) for n, t in pairs + [p for p in finals if "kind" in p[1].user_attrs]]

    def _record(self, arm: str, trial: FrozenTrial) -> Record:
        rows = sorted((k, v) for k, v in trial.user_attrs.items() if k.startswith(_EPOCH))
        epochs = (
            EpochResult(int(k.removeprefix(_EPOCH)), v["metrics"], tuple(v["warnings"])) for k, v in rows
        )
        started, ended = trial.datetime_start, trial.datetime_complete
        return Record(
            assignment=self._assignment(arm, trial),
            state=_state(trial),
            epochs=tuple(epochs),
            cause=trial.user_attrs.get("cause"),
            started=started.timestamp() if started else None,
            ended=ended.timestamp() if ended else None,
        )


def _state(trial: FrozenTrial) -> State:
    if "infeasible" in trial.user_attrs:
        return "infeasible"
    match trial.state:
        case TrialState.COMPLETE:
            return "finished"
        case TrialState.PRUNED:
            return "pruned"
        case TrialState.FAIL:
            return "failed"
        case _:
            return "running"


def stored(url: str, name: str) -> Ledger:
    """The ledger of a study as its storage has it, to be read.

    Raises:
        ValueError: The storage has no such study.
    """
    try:
        facts = optuna.load_study(study_name=name, storage=optuna.storages.RDBStorage(url)).user_attrs
        spec = parse(facts["spec"], "the ledger")
    except KeyError:
        raise ValueError(f"the ledger has no study {name!r}") from None
    channels, height, width = facts["input_shape"]
    return Ledger(url, spec, input_shape=(channels, height, width), classes=facts["classes"])


def dump(spec: StudySpec) -> dict[str, Any]:
    """A study as JSON that `parse` reads back."""
    table: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    return table
