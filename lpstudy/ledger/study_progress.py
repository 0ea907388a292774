"""A study's progress: its runs, winners and remaining work, for any number of readers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from optuna.trial import FrozenTrial, TrialState

from lpstudy.epoch_result import EpochResult
from lpstudy.ledger.arm_rows import ARMS
from lpstudy.ledger.finals_progress import CANDIDATE, FinalsProgress, kind_of
from lpstudy.ledger.records import Assignment, Record, State
from lpstudy.ledger.row_models import ATTEMPT, EPOCHS, FINAL, StoredBudget
from lpstudy.ledger.seed_rows import FINALS, SEEDS, StoredFinals, StoredSeeds
from lpstudy.ledger.spent_budget import spent_limits
from lpstudy.seed_range import first_seeds

if TYPE_CHECKING:  # the networks of a study take seconds to import
    from lpstudy.space import Budget

SEARCH_SEED = 0
"""The seed of all trials of the search; finals use 1, 2, ..., so that none repeats the winner's trial."""
POINTS = "points"
"""The fact that holds the number of different trials of each arm with a finite search space."""


class Trials(Protocol):
    """The read interface of an Optuna study: the study's facts, an arm's search, or its finals."""

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The attributes of the Optuna study."""

    @property
    def directions(self) -> Sequence[object]:
        """The direction of each objective."""

    def get_trials(
        self, deepcopy: bool = True, states: Collection[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in order, filtered by `states` if given."""


@dataclass(frozen=True, slots=True)
class StudyRows:
    """The Optuna studies that make up one study."""

    facts: Trials
    search: Mapping[str, Trials]
    """The search of each arm, by the arm's name."""
    finals: Mapping[str, Trials]
    """The finals of each arm, by the arm's name."""
    hidden: Mapping[str, int] = field(default_factory=dict)
    """The number of runs of each arm that the study file no longer has."""


class StudyProgress:
    """The assigned runs of a study and their results; those of hidden arms are only counted.

    Args:
        budget: The study's budget.
        rows: The study's Optuna studies.
    """

    def __init__(self, budget: "StoredBudget | Budget", rows: StudyRows) -> None:
        self.budget = budget
        self._meta, self._search, self._finals = rows.facts, rows.search, rows.finals
        self.hidden = rows.hidden
        """The number of runs of each hidden arm."""

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arms in the study's order."""
        return tuple(self._search)

    @property
    def exhausted_arms(self) -> frozenset[str]:
        """The arms without any further feasible design."""
        return frozenset(self.facts.get("exhausted", ()))

    @property
    def expected_runs(self) -> int:
        """The number of runs of the complete study, as far as it is known now."""
        return sum(self.expected_by_arm.values())

    @property
    def expected_by_arm(self) -> dict[str, int]:
        """The same of each arm."""
        no_more = self.arm_names if self.is_spent else self.exhausted_arms
        return {name: self._expected_runs(name, exhausted=name in no_more) for name in self._search}

    def _expected_runs(self, name: str, *, exhausted: bool) -> int:
        count, limit = self._trial_count(name), self.trial_limit(name)
        is_last_assigned = exhausted or count >= limit
        is_search_complete = is_last_assigned and not self._running(self._search[name])
        finals = self.finals_progress(name).expected(limit=limit, is_search_complete=is_search_complete)
        return (count if is_last_assigned else limit) + finals

    @property
    def ended_runs(self) -> int:
        """The number of runs that have ended; designs beyond the limits are none."""
        return sum(record.state not in ("running", "infeasible") for record in self.records())

    def is_complete(self) -> bool:
        """Whether all runs have ended, and no further seed is to be decided on."""
        return not self.has_pending_runs(searching=True) and not self.open_arms

    def has_pending_runs(self, *, searching: bool, seeds: Collection[int] | None = None) -> bool:
        """Whether a run remains.

        Args:
            searching: Whether new trials count.
            seeds: The seeds whose finals count; None for all.
        """
        is_running = any(self._running(s) for s in (*self._search.values(), *self._finals.values()))
        has_new_trials = searching and bool(self._arms_to_search())
        finals = [self.finals_progress(name) for name in self._search]
        has_finals = any(one.missing_candidates or one.missing_of(seeds) for one in finals)
        return is_running or has_new_trials or has_finals

    def trial_limit(self, arm: str) -> int:
        """The largest number of trials of an arm: the budget, or its number of different points.

        A failed run, for example one whose process died or that was cancelled, does not use up a point.
        """
        return self._limit(arm, self.budget.trials)

    def _limit(self, arm: str, trials: int) -> int:
        points = self.points.get(arm)
        if points is None:
            return trials
        failures = self._search[arm].get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return min(trials, points + len(failures))

    @property
    def points(self) -> dict[str, int]:
        """The number of different trials of each arm with a finite search space."""
        return {arm: int(count) for arm, count in self.facts.get(POINTS, {}).items()}

    def remaining_trials(self, arm: str, trials: int) -> int:
        """The number of further trials of an arm with a budget of so many trials."""
        return 0 if self.is_spent else self._remaining_trials(arm, trials)

    def _remaining_trials(self, arm: str, trials: int) -> int:
        """The same without a look at what has been spent."""
        return 0 if arm in self.exhausted_arms else max(0, self._limit(arm, trials) - self._trial_count(arm))

    @property
    def is_spent(self) -> bool:
        """Whether a budget of computing time or money is spent: no further trial starts."""
        return bool(self.spent_limits())

    def spent_limits(self) -> list[str]:
        """The keys of [budget] of which nothing is left; counted from the ledger, over all starts."""
        studies = (*self._search.values(), *self._finals.values())
        runs = (trial for study in studies for trial in study.get_trials(deepcopy=False))
        return spent_limits(self.budget, self.facts, runs)

    def remaining_finals(self, arm: str, kind: str) -> int:
        """The number of an arm's candidates, or of its finals, that have not been started."""
        finals, limit = self.finals_progress(arm), self.trial_limit(arm)
        if finals.winner is not None:
            return 0 if kind == CANDIDATE else len(finals.missing_finals)
        return finals.expected_of(kind, trials=limit)

    def winners_with_finals(self, arm: str) -> list[int]:
        """The numbers of the trials that have finals, in order of their first final."""
        finals = self.finals_progress(arm).finals
        return list(dict.fromkeys(trial.user_attrs[FINAL]["number"] for trial in finals))

    @property
    def growth(self) -> list[dict[str, Any]]:
        """What was added to the study after its start and hidden, in order: see `StoredExtension`."""
        return list(self.facts.get(ARMS, {}).get("growth", ()))

    def _arms_to_search(self) -> list[str]:
        """The arms that get more trials."""
        if self.is_spent:
            return []
        return [arm for arm in self._search if self._remaining_trials(arm, self.budget.trials)]

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of the whole study: spec, id, input_shape, classes and those of `Ledger.set_fact`."""
        return self._meta.user_attrs

    def _trial_count(self, name: str) -> int:
        return sum("infeasible" not in t.user_attrs for t in self._search[name].get_trials(deepcopy=False))

    @property
    def n_candidates(self) -> int:
        """How many trials of an arm are candidates for its finals; 1 for none."""
        return StoredFinals.model_validate(self.facts.get(FINALS, {})).candidates

    @property
    def n_front(self) -> int:
        """How many designs of the front of an arm with two objectives have finals."""
        return StoredFinals.model_validate(self.facts.get(FINALS, {})).front

    def seeds_of(self, arm: str) -> int:
        """How many seeds the finals of an arm have, as far as it is decided."""
        first = first_seeds(self.budget.seeds)
        if isinstance(self.budget.seeds, int) or arm not in self.facts.get(SEEDS, {}):
            return first
        return max(first, StoredSeeds.model_validate(self.facts[SEEDS][arm]).seeds)

    @property
    def open_arms(self) -> list[str]:
        """The arms with a winner whose finals are looked at once more before the study ends."""
        if isinstance(self.budget.seeds, int):
            return []
        decisions = {arm: StoredSeeds.model_validate(one) for arm, one in self.facts.get(SEEDS, {}).items()}
        is_open = {arm: arm not in decisions or decisions[arm].is_open for arm in self._search}
        return [arm for arm in self._search if is_open[arm] and self.winner(arm) is not None]

    def finals_progress(self, arm: str) -> FinalsProgress:
        """What of an arm's candidates and finals is there, and what is missing."""
        has_front = len(self._search[arm].directions) > 1
        return FinalsProgress(
            finished=self._search[arm].get_trials(deepcopy=False, states=(TrialState.COMPLETE,)),
            runs=self._finals[arm].get_trials(deepcopy=False),
            n_candidates=1 if has_front else self.n_candidates,
            seeds=self.seeds_of(arm),
            n_front=self.n_front if has_front else 1,
        )

    def _running(self, study: Trials) -> bool:
        return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def winner(self, arm: str) -> FrozenTrial | None:
        """The trial that goes to the finals: see `FinalsProgress.winner`."""
        return self.finals_progress(arm).winner

    def _study(self, assignment: Assignment) -> Trials:
        return (self._search if assignment.kind == "trial" else self._finals)[assignment.arm]

    def _assignment(self, arm: str, trial: FrozenTrial) -> Assignment:
        final = trial.user_attrs.get(FINAL)
        return Assignment(
            kind="trial" if final is None else "candidate" if kind_of(final) == CANDIDATE else "final",
            arm=arm,
            number=trial.number if final is None else final["number"],
            seed=SEARCH_SEED if final is None else final["seed"],
            values=dict(trial.params) if final is None else final["values"],
            attempt=trial.user_attrs.get(ATTEMPT, 1),
            storage_id=trial._trial_id,
        )

    def record(self, assignment: Assignment) -> Record:
        """The current record of a run."""
        return self._record(assignment.arm, self._trial(assignment))

    def _trial(self, assignment: Assignment) -> FrozenTrial:
        return self._by_id[assignment.storage_id]

    @cached_property
    def _by_id(self) -> dict[int, FrozenTrial]:
        """The trials by their ids, as they were read; `Ledger` reads them anew."""
        studies = (*self._search.values(), *self._finals.values())
        return {trial._trial_id: trial for study in studies for trial in study.get_trials(deepcopy=False)}

    def records(self) -> list[Record]:
        """The records of all runs by arm, trials before candidates and finals."""
        pairs = [(n, t) for n, s in self._search.items() for t in s.get_trials(deepcopy=False)]
        finals = [(n, t) for n, s in self._finals.items() for t in s.get_trials(deepcopy=False)]
        return [self._record(n, t) for n, t in pairs + finals]

    def _record(self, arm: str, trial: FrozenTrial) -> Record:
        start, end = trial.datetime_start, trial.datetime_complete
        return Record(
            assignment=self._assignment(arm, trial),
            state=_state(trial),
            epochs=tuple(epochs_of(trial)),
            cause=trial.user_attrs.get("cause"),
            started=start.timestamp() if start else None,
            ended=end.timestamp() if end else None,
        )


def epochs_of(trial: FrozenTrial) -> Iterator[EpochResult]:
    """The epoch results of a trial, in order."""
    attributes = sorted((key, rows) for key, rows in trial.user_attrs.items() if key.startswith(EPOCHS))
    for _, rows in attributes:
        for row in rows:
            yield EpochResult.from_row(row)


def _state(trial: FrozenTrial) -> State:
    if "infeasible" in trial.user_attrs:
        return "infeasible"
    match trial.state:
        case TrialState.COMPLETE:
            return "finished"
        case TrialState.PRUNED:  # also a failed trial that the sampler learns from
            return "failed" if "cause" in trial.user_attrs else "pruned"
        case TrialState.FAIL:
            return "failed"
        case _:
            return "running"
