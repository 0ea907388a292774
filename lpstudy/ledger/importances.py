"""Which hyperparameters of an arm mattered, from the trials that ran all their epochs."""

from collections.abc import Mapping, Sequence

import optuna

from lpstudy.ledger.samplers import distribution
from lpstudy.space import Arm, Scalar


def hyperparameter_importances(
    arm: Arm, trials: Sequence[tuple[Mapping[str, Scalar], float]]
) -> dict[str, float]:
    """The share of the variance of validation accuracy that each searched hyperparameter explains by itself.

    Shares are of what all of them explain by themselves: they sum to 1. There are none for one
    hyperparameter, which has all by definition, and none where all accuracies are the same.

    Args:
        arm: The arm.
        trials: Values and validation accuracy of each trial that ran all its epochs.

    Source: Hutter, Hoos and Leyton-Brown (2014), ICML (functional ANOVA on a random forest), by Optuna.
    """
    spaces = {key: distribution(arm, key, space) for key, space in arm.searched.items()}
    if len(spaces) < 2 or len({value for _, value in trials}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would print a line for each study in memory
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        [optuna.trial.create_trial(params=dict(v), distributions=spaces, value=value) for v, value in trials]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
