"""Where a study stands, for any number of readers: its runs, whatever networks they train."""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from optuna.trial import FrozenTrial, TrialState

from lpstudy.epoch_result import EpochResult
from lpstudy.ledger.records import Assignment, Record, State
from lpstudy.ledger.row_models import ATTEMPT, EPOCHS, FINAL, StoredBudget

if TYPE_CHECKING:  # the networks of a study take seconds to import
    from lpstudy.space import Budget

SEARCH_SEED = 0
"""All trials of the search share it; the finals use 1, 2, ...: none repeats a run that was selected."""
POINTS = "points"
"""Fact of a study: how many different trials each arm has whose search space is finite."""


class Trials(Protocol):
    """An Optuna study as far as it is read: one with the study's facts, an arm's search, or its finals."""

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Its facts."""

    def get_trials(
        self, deepcopy: bool = True, states: Collection[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Its trials in order, of some states alone where they are named."""


class StudyProgress:
    """What has been asked and what came of it.

    Args:
        budget: What the study may spend.
        facts: Of the whole study.
        search: The trials of each arm.
        finals: The finals of each arm.
    """

    def __init__(
        self,
        budget: "StoredBudget | Budget",
        facts: Trials,
        search: Mapping[str, Trials],
        finals: Mapping[str, Trials],
    ) -> None:
        self.budget = budget
        self._meta, self._search, self._finals = facts, search, finals

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arms in the study's order."""
        return tuple(self._search)

    @property
    def exhausted_arms(self) -> frozenset[str]:
        """Arms in which no feasible design was found any more."""
        return frozenset(self.facts.get("exhausted", ()))

    @property
    def expected_runs(self) -> int:
        """How many trials and finals the study has when it is complete, as far as is known now."""
        return sum(self._expected_runs(name, exhausted=name in self.exhausted_arms) for name in self._search)

    def _expected_runs(self, name: str, *, exhausted: bool) -> int:
        budget, counted, limit = self.budget, self._counted(name), self.trial_limit(name)
        asked = exhausted or counted >= limit
        over = asked and not self._running(self._search[name])
        finals = len(self._begun(name))  # those of an earlier winner too
        if self.winner(name) is not None:
            finals += len(self._unseen(name))
        elif not over:
            finals += budget.seeds
        return (counted if asked else limit) + finals

    def is_complete(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.has_pending_runs(searching=True)

    def has_pending_runs(self, *, searching: bool) -> bool:
        """Whether a run is to be done; `searching` false: none but those that were begun, and finals."""
        running = any(self._running(s) for s in (*self._search.values(), *self._finals.values()))
        short = searching and bool(self._short())
        return running or short or any(self._unseen(name) for name in self._search)

    def trial_limit(self, arm: str) -> int:
        """How many trials an arm may have: its budget, but none at a point that another one has tried.

        A run that came to no end of its own, as its process died or it was cancelled, has tried nothing.
        """
        return self._limit(arm, self.budget.trials)

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

    def remaining_trials(self, arm: str, trials: int) -> int:
        """How many more trials the arm is to have with such a budget."""
        return 0 if arm in self.exhausted_arms else max(0, self._limit(arm, trials) - self._counted(arm))

    def winners_with_finals(self, arm: str) -> list[int]:
        """Numbers of the trials that finals were begun for, in their order: of a study as begun one."""
        return list(dict.fromkeys(trial.user_attrs[FINAL]["number"] for trial in self._begun(arm)))

    def _short(self) -> list[str]:
        """Arms that are to have more trials."""
        return [arm for arm in self._search if self.remaining_trials(arm, self.budget.trials)]

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
        return [seed for seed in range(1, self.budget.seeds + 1) if seed not in seen]

    def _begun(self, name: str) -> list[FrozenTrial]:
        """An arm's finals, of an earlier winner too."""
        return self._finals[name].get_trials(deepcopy=False)

    def _running(self, study: Trials) -> bool:
        return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def winner(self, arm: str) -> FrozenTrial | None:
        """The finished trial with the highest validation accuracy; of equals the first."""
        done = self._search[arm].get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(done, key=lambda trial: (trial.values[0], -trial.number), default=None)

    def _study(self, assignment: Assignment) -> Trials:
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
        return self._record(assignment.arm, self._trial(assignment))

    def _trial(self, assignment: Assignment) -> FrozenTrial:
        return self._by_id[assignment.storage_id]

    @cached_property
    def _by_id(self) -> dict[int, FrozenTrial]:
        """The trials as they were read; who writes them knows newer ones."""
        studies = (*self._search.values(), *self._finals.values())
        return {trial._trial_id: trial for study in studies for trial in study.get_trials(deepcopy=False)}

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
