"""Early stopping of a study's trials: by Optuna's pruner, or by accuracy and MACs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from lpstudy.ledger import samplers
from lpstudy.ledger.front_pruner import FRONT_PRUNER, RungValue, is_stopped
from lpstudy.ledger.row_models import EPOCHS
from lpstudy.ledger.study_progress import epochs_of
from lpstudy.outputs import EpochResult
from lpstudy.space import Budget

ACCURACY = "validation_accuracy"
Macs = Callable[[str, Mapping[str, Any]], int]
"""The MACs of an arm's student for some searched values."""


class Pruning:
    """The rule that stops weak trials of a study, as its budget says.

    Args:
        budget: The study's budget.
        facts: The facts of the ledger, none of a new study.
        macs: The MACs of an arm's student.
        epochs: The epochs of an arm's runs.
    """

    def __init__(
        self, budget: Budget, facts: Mapping[str, Any], macs: Macs, epochs: Callable[[str], int]
    ) -> None:
        self._budget, self._macs, self._epochs = budget, macs, epochs
        self.judges_fronts = bool(facts.get(FRONT_PRUNER, "spec" not in facts))
        """Whether trials with two objectives are judged: not in a study that was begun without."""

    def rungs(self, study: optuna.Study, number: int, arm: str) -> tuple[int, ...]:
        """The epochs after which a trial of this number in an arm's search may be stopped."""
        rungs = samplers.rungs(self._budget_of(arm))
        if len(study.directions) == 1:
            return rungs
        if not self.judges_fronts:
            return ()
        return rungs[samplers.bracket(self._budget, number) :]

    def _budget_of(self, arm: str) -> Budget:
        """The budget with the epochs of the arm."""
        return self._budget.model_copy(update={"epochs": self._epochs(arm)})

    def accuracies(self, results: Iterable[EpochResult]) -> dict[int, float]:
        """The accuracies that Optuna's pruner compares, by epoch."""
        first = samplers.warmup_epochs(self._budget)
        return {result.epoch: result.metrics[ACCURACY] for result in results if result.epoch >= first}

    def accuracies_of(self, trial: FrozenTrial) -> dict[int, float]:
        """The same of the epochs that a trial has stored."""
        return self.accuracies(epochs_of(trial))

    def is_pruned(self, study: optuna.Study, trial: FrozenTrial, result: EpochResult, arm: str) -> bool:
        """Whether a trial stops after this epoch, the newest one and one of its rungs."""
        if len(study.directions) == 1:
            return samplers.pruner(self._budget_of(arm)).prune(study, trial)
        rivals = [
            RungValue(accuracy, self._macs(arm, other.params))
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and (accuracy := _accuracy_at(other, result.epoch)) is not None
        ]
        own = RungValue(result.metrics[ACCURACY], self._macs(arm, trial.params))
        return is_stopped(own, rivals, samplers.reduction(self._budget))


def _accuracy_at(trial: FrozenTrial, epoch: int) -> float | None:
    """The stored accuracy after an epoch; None where the trial has not reached it."""
    groups = (rows for key, rows in trial.user_attrs.items() if key.startswith(EPOCHS))
    return next((row["metrics"][ACCURACY] for rows in groups for row in rows if row["epoch"] == epoch), None)
