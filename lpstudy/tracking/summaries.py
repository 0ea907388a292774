"""The figures of a study's arms, from the report's comparison of the ledger's runs."""

import math

from lpstudy.ledger import LedgerReader
from lpstudy.tables import comparison
from lpstudy.tables.arms import arm_results
from lpstudy.tables.facts import BEYOND_ACCURACY
from lpstudy.tracking.client import StudyMetadata
from lpstudy.tracking.frames import ledger_frame
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import StudyJson

METRIC_NAMES = {
    "accuracy_mean": "test_accuracy_mean",
    "accuracy_low": "test_accuracy_low",
    "accuracy_high": "test_accuracy_high",
    "delta_bp_mean": "difference_to_bp",
    "delta_bp_low": "difference_to_bp_low",
    "delta_bp_high": "difference_to_bp_high",
    "balanced_mean": "test_balanced_accuracy_mean",
    "top5_mean": "test_top5_accuracy_mean",
    **{f"{name}_mean": f"test_{name}_mean" for name in BEYOND_ACCURACY},
    "seeds": "seeds",
    "parameters": "parameters",
    "macs": "macs",
    "flops": "flops",
    "training_macs": "training_macs",
}
"""Columns of the comparison with their names as metrics of an arm's run."""


def arm_figures(ledger: LedgerReader, facts: StudyMetadata) -> dict[str, dict[str, float]]:
    """The known figures of each arm's winner, by the arm's name."""
    study_json = StudyJson.model_validate_json(facts.as_text())
    study = study_facts(study_json, ledger.spec, {}, experiment="", teacher="")
    runs = ledger_frame(ledger)
    table = comparison(study, runs)
    rows = table.astype("object").to_dict("records")[1:]  # the first is the teacher
    results = arm_results(study, runs)
    figures = {
        (one.arm.method, one.arm.student): {
            name: float(row[column]) for column, name in METRIC_NAMES.items() if _is_known(row.get(column))
        }
        for one, row in zip(results, rows, strict=True)
    }
    return {arm.name: figures[arm.method, arm.student] for arm in study.arms}


def _is_known(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
