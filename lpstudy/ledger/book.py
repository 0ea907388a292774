"""What a study's storage knows, for any number of readers."""

import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from lpstudy.ledger.address import shown
from lpstudy.ledger.records import Assignment, Record, State
from lpstudy.ledger.storage import engine_of, opened, patiently
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec, parse

FORMAT = 2
"""Of what is written about trials; raised when a ledger of before cannot be read any more."""
SEARCH_SEED = 0
"""All trials of the search share it; the finals use 1, 2, ...: none repeats a run that was selected."""
EPOCHS = "epochs:"
"""Attributes of a trial that hold what its epochs gave begin so; the first of them follows."""

FINAL = "final"
"""Attribute of a final: the number of the trial that won, the seed and the values."""
POINTS = "points"
"""Fact of a study: how many different trials each arm has whose search space is finite."""
ATTEMPT = "attempt"
"""Attribute of a run that was begun again."""


class Book:
    """What has been asked and what came of it.

    Args:
        storage: An SQLAlchemy URL, or what `opened` gave for one.
        spec: The study.
        input_shape: (channels, height, width) of the images.
        classes: Number of classes.

    Raises:
        ValueError: The ledger was written by a version of lpstudy with another format.
    """

    def __init__(
        self,
        storage: str | RDBStorage,
        spec: StudySpec,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
    ) -> None:
        self.spec, self.input_shape, self.classes = spec, input_shape, classes
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._storage: optuna.storages.BaseStorage = opened(storage) if isinstance(storage, str) else storage
        self._engine = engine_of(self._storage)
        self._meta = self._open(spec.name, 1)
        written = self._meta.user_attrs.get("format", 1) if self._meta.user_attrs else FORMAT
        if written != FORMAT:
            raise ValueError(
                f"the ledger of study {spec.name!r} was written by another version of lpstudy"
                f" (format {written}, this one has {FORMAT}): finish it with that version, or give --fresh"
            )
        self.arms = {arm.name: arm for arm in spec.arms()}
        self._search = {
            arm.name: self._open(f"{spec.name}/{arm.name}", arm.objectives) for arm in spec.arms()
        }
        self._finals = {arm.name: self._open(f"{spec.name}/{arm.name}/finals", 1) for arm in spec.arms()}

    def _open(self, name: str, objectives: int) -> optuna.Study:
        directions = (optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE)[:objectives]

        def create() -> optuna.Study:
            return optuna.create_study(
                storage=self._storage, study_name=name, directions=directions, load_if_exists=True
            )

        return patiently(create, shown(str(self._engine.url)))

    @property
    def engine(self) -> sqlalchemy.Engine:
        """Of the storage that it was opened with."""
        return self._engine

    @property
    def exhausted(self) -> frozenset[str]:
        """Arms in which no feasible design was found any more."""
        return frozenset(self.facts.get("exhausted", ()))

    @property
    def wanted(self) -> int:
        """How many trials and finals the study has when it is complete, as far as is known now."""
        return sum(self._wanted(name, exhausted=name in self.exhausted) for name in self.arms)

    def _wanted(self, name: str, *, exhausted: bool) -> int:
        budget, counted, limit = self.spec.budget, self._counted(name), self.trial_limit(name)
        asked = exhausted or counted >= limit
        over = asked and not self._running(self._search[name])
        finals = len(self._begun(name))  # those of an earlier winner too
        if self.winner(name) is not None:
            finals += len(self._unseen(name))
        elif not over:
            finals += budget.seeds
        return (counted if asked else limit) + finals

    def complete(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.left(searching=True)

    def left(self, *, searching: bool) -> bool:
        """Whether a run is to be done; `searching` false: none but those that were begun, and finals."""
        running = any(self._running(s) for s in (*self._search.values(), *self._finals.values()))
        return running or (searching and bool(self._short())) or any(self._unseen(name) for name in self.arms)

    def trial_limit(self, arm: str) -> int:
        """How many trials an arm may have: its budget, but none at a point that another one has tried.

        A run that came to no end of its own, as its process died or it was cancelled, has tried nothing.
        """
        return self._limit(arm, self.spec.budget.trials)

    def _limit(self, arm: str, trials: int) -> int:
        points = self.points.get(arm)
        if points is None:
            return trials
        lost = self._search[arm].get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return min(trials, points + len(lost))

    @property
    def points(self) -> dict[str, int]:
        """How many different trials each arm has whose search space is finite."""
        return {arm: int(count) for arm, count in self.facts.get(POINTS, {}).items()}

    def trials_to_come(self, arm: str, trials: int) -> int:
        """How many more trials the arm is to have with such a budget."""
        return 0 if arm in self.exhausted else max(0, self._limit(arm, trials) - self._counted(arm))

    def winners_with_finals(self, arm: str) -> list[int]:
        """Numbers of the trials that finals were begun for, in their order: of a study as begun one."""
        return list(dict.fromkeys(trial.user_attrs[FINAL]["number"] for trial in self._begun(arm)))

    def _short(self) -> list[str]:
        """Arms that are to have more trials."""
        return [arm for arm in self.arms if self.trials_to_come(arm, self.spec.budget.trials)]

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of the whole study: spec, id, input_shape, classes and what was kept."""
        return self._meta.user_attrs

    def _counted(self, name: str) -> int:
        return sum("infeasible" not in t.user_attrs for t in self._search[name].get_trials(deepcopy=False))

    def _unseen(self, name: str) -> list[int]:
        """Seeds on which the arm's winner has not been trained; none where there is no winner."""
        winner = self.winner(name)
        if winner is None:
            return []
        begun = (trial.user_attrs[FINAL] for trial in self._begun(name))
        seen = {final["seed"] for final in begun if final["number"] == winner.number}
        return [seed for seed in range(1, self.spec.budget.seeds + 1) if seed not in seen]

    def _begun(self, name: str) -> list[FrozenTrial]:
        """An arm's finals, of an earlier winner too."""
        return self._finals[name].get_trials(deepcopy=False)

    def _running(self, study: optuna.Study) -> bool:
        return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def winner(self, arm: str) -> FrozenTrial | None:
        """The finished trial with the highest validation accuracy; of equals the first."""
        done = self._search[arm].get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(done, key=lambda trial: (trial.values[0], -trial.number), default=None)

    def _study(self, assignment: Assignment) -> optuna.Study:
        return (self._search if assignment.kind == "trial" else self._finals)[assignment.arm]

    def _assignment(self, arm: str, trial: FrozenTrial) -> Assignment:
        final = trial.user_attrs.get(FINAL)
        return Assignment(
            kind="trial" if final is None else "final",
            arm=arm,
            number=trial.number if final is None else final["number"],
            seed=SEARCH_SEED if final is None else final["seed"],
            values=dict(trial.params) if final is None else final["values"],
            attempt=trial.user_attrs.get(ATTEMPT, 1),
            storage_id=trial._trial_id,
        )

    def record(self, assignment: Assignment) -> Record:
        """What is known of a run now."""
        return self._record(assignment.arm, self._storage.get_trial(assignment.storage_id))

    def records(self) -> list[Record]:
        """Every run of the study, arm by arm, the finals last."""
        pairs = [(n, t) for n, s in self._search.items() for t in s.get_trials(deepcopy=False)]
        finals = [(n, t) for n in self._finals for t in self._begun(n)]
        return [self._record(n, t) for n, t in pairs + finals]

    def _record(self, arm: str, trial: FrozenTrial) -> Record:
        started, ended = trial.datetime_start, trial.datetime_complete
        return Record(
            assignment=self._assignment(arm, trial),
            state=_state(trial),
            epochs=tuple(epochs_of(trial)),
            cause=trial.user_attrs.get("cause"),
            started=started.timestamp() if started else None,
            ended=ended.timestamp() if ended else None,
        )


def epochs_of(trial: FrozenTrial) -> Iterator[EpochResult]:
    """What a trial has reported, in order."""
    written = sorted((key, rows) for key, rows in trial.user_attrs.items() if key.startswith(EPOCHS))
    for _, rows in written:
        for row in rows:
            yield EpochResult.from_row(row)


def _state(trial: FrozenTrial) -> State:
    if "infeasible" in trial.user_attrs:
        return "infeasible"
    match trial.state:
        case TrialState.COMPLETE:
            return "finished"
        case TrialState.PRUNED:  # a failed one is told so where the sampler is to learn from it
            return "failed" if "cause" in trial.user_attrs else "pruned"
        case TrialState.FAIL:
            return "failed"
        case _:
            return "running"


def stored(storage: str | RDBStorage, name: str) -> Book:
    """The ledger of a study as its storage has it, to be read; under the name that it has there now.

    Raises:
        ValueError: The storage has no such study.
    """
    storage = opened(storage) if isinstance(storage, str) else storage
    try:
        where = shown(str(engine_of(storage).url))
        study = patiently(lambda: optuna.load_study(study_name=name, storage=storage), where)
        facts = patiently(lambda: study.user_attrs, where)
        spec = parse(facts["spec"], "the ledger").model_copy(update={"name": name})
        (channels, height, width), classes = facts["input_shape"], facts["classes"]
    except KeyError:  # never begun, or being begun in this moment
        raise ValueError(f"the ledger has no study {name!r}") from None
    return Book(storage, spec, input_shape=(channels, height, width), classes=classes)


def names(storage: RDBStorage) -> list[str]:
    """Every study of a storage, in order."""
    return sorted(name for name in optuna.get_all_study_names(storage=storage) if "/" not in name)


def rename(storage: RDBStorage, old: str, new: str) -> None:
    """Give a study another name, in one transaction."""
    table = sqlalchemy.table("studies", sqlalchemy.column("study_name"))
    column = table.c.study_name
    mine = (column == old) | column.startswith(f"{old}/", autoescape=True)
    with storage.engine.begin() as connection:
        renamed = sqlalchemy.literal(new) + sqlalchemy.func.substr(column, len(old) + 1)
        connection.execute(sqlalchemy.update(table).where(mine).values(study_name=renamed))
