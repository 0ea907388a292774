"""An arm's runs after its search: its candidates, its winner, and the winner's finals."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lpstudy.ledger.front_designs import front_designs
from lpstudy.ledger.row_models import FINAL, KIND

CANDIDATE = "candidate"
"""The kind of a run that trains one of an arm's best trials again, on a seed that neither search nor finals
have."""
CANDIDATE_SEEDS = (999_001, 999_002, 999_003)
"""The seeds of the candidates; finals have 1, 2, ..., at most 999,000."""


def candidate_runs(n_candidates: int, trials: int) -> int:
    """The number of candidates' runs of an arm with one objective and so many finished trials."""
    count = min(n_candidates, trials)
    return count * len(CANDIDATE_SEEDS) if count > 1 else 0


def kind_of(final: dict[str, Any]) -> str:
    """The kind of a run after the search, from its attribute `FINAL`."""
    return str(final.get(KIND, "final"))


@dataclass(frozen=True)
class FinalsProgress:
    """What of an arm's candidates and finals is there, and what is missing."""

    finished: Sequence[FrozenTrial]
    """The finished trials of its search."""
    runs: Sequence[FrozenTrial]
    """Its candidates and finals, those of an earlier winner too."""
    n_candidates: int
    """How many of its trials are candidates; 1 for none, as for an arm with two objectives: its designs are
    not alternatives."""
    seeds: int
    """How many seeds its finals have."""
    n_front: int = 1
    """How many designs of its front have finals; 1 for an arm with one objective."""

    @cached_property
    def candidates(self) -> list[FrozenTrial]:
        """The trials that are trained again before one of them wins; none where one trial alone may win."""
        if self.n_candidates == 1:
            return []
        ranked = sorted(self.finished, key=lambda trial: (-trial.values[0], trial.number))
        best = ranked[: self.n_candidates]
        return best if len(best) > 1 else []

    @cached_property
    def _candidate_runs(self) -> dict[tuple[int, int], FrozenTrial]:
        """The runs of the candidates by trial number and seed."""
        return {
            (run.user_attrs[FINAL]["number"], run.user_attrs[FINAL]["seed"]): run
            for run in self.runs
            if kind_of(run.user_attrs[FINAL]) == CANDIDATE
        }

    @property
    def finals(self) -> list[FrozenTrial]:
        """The finals, those of an earlier winner too."""
        return [run for run in self.runs if kind_of(run.user_attrs[FINAL]) != CANDIDATE]

    @property
    def missing_candidates(self) -> list[tuple[FrozenTrial, int]]:
        """The candidates' runs to come: a trial and a seed."""
        return [
            (trial, seed)
            for seed in CANDIDATE_SEEDS
            for trial in self.candidates
            if (trial.number, seed) not in self._candidate_runs
        ]

    @cached_property
    def winner(self) -> FrozenTrial | None:
        """The trial that goes to the finals; None before the search and its candidates have ended.

        It is the candidate of the highest mean validation accuracy over its finished runs, also one that
        further trials have surpassed since; without such runs the finished trial of the highest validation
        accuracy. The earliest of equal ones.
        """
        if self.missing_candidates or any(
            (run := self._candidate_runs.get((trial.number, seed))) is not None
            and run.state == TrialState.RUNNING
            for trial in self.candidates
            for seed in CANDIDATE_SEEDS
        ):
            return None
        means = {
            trial.number: sum(values) / len(values)
            for trial in self.finished
            if self.candidates and (values := self._accuracies(trial))
        }
        if means:
            able = [trial for trial in self.finished if trial.number in means]
            return max(able, key=lambda trial: (means[trial.number], -trial.number))
        return max(self.finished, key=lambda trial: (trial.values[0], -trial.number), default=None)

    def _accuracies(self, trial: FrozenTrial) -> list[float]:
        """The validation accuracies of a trial's finished runs as a candidate."""
        runs = [self._candidate_runs.get((trial.number, seed)) for seed in CANDIDATE_SEEDS]
        return [run.values[0] for run in runs if run is not None and run.state == TrialState.COMPLETE]

    @property
    def finalists(self) -> list[FrozenTrial]:
        """The trials that have finals, the winner first; none before there is a winner.

        Of an arm with two objectives they are designs of its front: see `front_designs`.
        """
        if self.winner is None or self.n_front == 1:
            return [] if self.winner is None else [self.winner]
        designs = front_designs([trial.values for trial in self.finished], self.n_front)
        others = [self.finished[place] for place in designs]
        others = [trial for trial in others if trial.values[0] < self.winner.values[0]]
        return [self.winner, *others]

    @cached_property
    def missing_finals(self) -> list[tuple[FrozenTrial, int]]:
        """The finals to come, seed by seed: a trial and a seed."""
        known = {(one.user_attrs[FINAL]["number"], one.user_attrs[FINAL]["seed"]) for one in self.finals}
        return [
            (trial, seed)
            for seed in range(1, self.seeds + 1)
            for trial in self.finalists
            if (trial.number, seed) not in known
        ]

    def missing_of(self, seeds: Collection[int] | None) -> list[tuple[FrozenTrial, int]]:
        """The finals to come on some seeds; None for all."""
        return [run for run in self.missing_finals if seeds is None or run[1] in seeds]

    def expected_of(self, kind: str, *, trials: int) -> int:
        """The number of candidates' runs, or of finals, to come before there is a winner.

        Args:
            kind: "candidate" or "final".
            trials: The largest number of trials.
        """
        if kind != CANDIDATE:
            return self.seeds * min(self.n_front, trials)
        return max(0, candidate_runs(self.n_candidates, trials) - len(self._candidate_runs))

    def expected(self, *, limit: int, is_search_complete: bool) -> int:
        """The number of candidates and finals that the arm will have, as far as it is known.

        Args:
            limit: The largest number of trials.
            is_search_complete: Whether all trials have ended.
        """
        if is_search_complete and not self.finished:
            return len(self.runs)
        if self.winner is not None:
            return len(self.runs) + len(self.missing_finals)
        candidates = len(self.missing_candidates)
        if not is_search_complete:
            candidates = self.expected_of(CANDIDATE, trials=limit)
        designs = min(self.n_front, len(self.finished) if is_search_complete else limit)
        return len(self.runs) + candidates + self.seeds * designs
