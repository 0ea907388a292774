"""The figures of a study's arms as metrics of their runs, from the report's comparison of the ledger."""

import math
from collections import Counter
from typing import get_args

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from lpstudy.ledger import LedgerReader, State
from lpstudy.tables import StudyFacts, comparison
from lpstudy.tables.arms import arm_results
from lpstudy.tables.facts import BEYOND_ACCURACY
from lpstudy.tracking.frames import ledger_frame

TRIAL_STATES: tuple[State, ...] = tuple(state for state in get_args(State) if state != "running")
_INTERVALS = {
    "accuracy": "test_accuracy",
    "balanced": "test_balanced_accuracy",
    "top5": "test_top5_accuracy",
    **{name: f"test_{name}" for name in BEYOND_ACCURACY},
}
_DIFFERENCE = "difference_to_bp"
METRIC_NAMES = {
    **{
        f"{name}_{part}": f"{of}_{part}"
        for name, of in _INTERVALS.items()
        for part in ("mean", "low", "high")
    },
    "delta_bp_mean": _DIFFERENCE,
    **{
        f"delta_bp_{name}": f"{_DIFFERENCE}_{name}"
        for name in ("low", "high", "p_holm", "detectable", "outperforms")
    },
    "seeds": "seeds",
    "parameters": "parameters",
    "macs": "macs",
    "flops": "flops",
    "training_macs": "training_macs",
}
"""Columns of the comparison with their names as metrics of an arm's run."""


def arm_figures(ledger: LedgerReader, study: StudyFacts) -> dict[str, dict[str, float]]:
    """The known figures of each arm: of its winner as in the report's comparison, and of its search.

    Args:
        ledger: The study's ledger.
        study: The study's facts.
    """
    runs = ledger_frame(ledger)
    rows = comparison(study, runs).astype("object").to_dict("records")[1:]  # the first is the teacher
    figures = {
        (one.arm.method, one.arm.student): {
            name: float(row[column]) for column, name in METRIC_NAMES.items() if _is_known(row.get(column))
        }
        for one, row in zip(arm_results(study, runs), rows, strict=True)
    }
    return {
        arm.name: figures[arm.method, arm.student] | _search_figures(ledger, arm.name) for arm in study.arms
    }


def write_arm_figures(
    client: MlflowClient, ledger: LedgerReader, run: str, figures: dict[str, float]
) -> None:
    """Write those figures of an arm's run that MLflow has otherwise, as its metrics' newest points.

    The step is the number of the study's runs that have ended, since the other arms' results change an arm's
    differences; the time is when the last of them ended.
    """
    known = client.get_run(run).data.metrics
    ends = [record.ended for record in ledger.records() if record.state != "running"]
    step, time = len(ends), int(1000 * max((end for end in ends if end), default=0))
    points = []
    for name, value in figures.items():
        if known.get(name) == value:
            continue
        # A figure that another version computed otherwise: MLflow shows the point of the highest step.
        steps = [point.step for point in client.get_metric_history(run, name)] if name in known else []
        points.append(Metric(name, value, time, max([step, *(one + 1 for one in steps)])))
    if points:
        client.log_batch(run, points)


def differing_figure(figures: dict[str, float], known: dict[str, float]) -> str:
    """The first figure of an arm's run that MLflow has otherwise, in words; empty where all agree."""
    for name, value in figures.items():
        if known.get(name) != value:
            return f"has {name} {value} but {known.get(name)} in MLflow"
    return ""


def _search_figures(ledger: LedgerReader, arm: str) -> dict[str, float]:
    """The number of an arm's trials in each state, and the validation accuracy of the winner."""
    records = [record for record in ledger.records() if record.assignment.arm == arm]
    counts = Counter(record.state for record in records if record.assignment.kind == "trial")
    figures = {f"trials_{state}": float(counts[state]) for state in TRIAL_STATES}
    winner = ledger.winner(arm)
    return figures if winner is None else figures | {"best_validation_accuracy": winner.values[0]}


def _is_known(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
