"""The results of a study as its report shows them, from the ledger instead of MLflow."""

from typing import Any

import pandas as pd

from lpstudy.ledger import (
    ESTIMATE,
    FINAL_TEACHERS,
    FRONT_PRUNER,
    LATENCY,
    SEEDS,
    SPENT,
    LedgerReader,
    StoredExtension,
    StoredPhase,
    dump,
)
from lpstudy.tables import CURVE_COLUMNS, StudyResults
from lpstudy.tracking.frames import curve_metrics, ledger_frame
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import DataJson, FinalsJson, LatencyJson, StudyJson, TeacherJson


def finals_json(ledger: LedgerReader) -> dict[str, Any]:
    """How the trials of a study become finals, as `study.json` has it."""
    stored = ledger.facts
    return {
        "candidates": ledger.n_candidates,
        "seeds": stored.get(SEEDS, {}),
        "teachers": stored.get(FINAL_TEACHERS, {}),
    }


def ledger_results(ledger: LedgerReader) -> StudyResults:
    """A study's facts, runs and curves; a run's id is its key.

    Raises:
        ValueError: The study has no teacher yet, and so no run.
    """
    stored = ledger.facts
    if not {"teacher", "data"} <= stored.keys():
        raise ValueError(f"study {ledger.spec.name!r} has trained no student yet")
    study_json = StudyJson(
        spec=dump(ledger.spec),
        data=DataJson.model_validate(stored["data"]),
        teacher=TeacherJson.model_validate(stored["teacher"]),
        provenance=stored.get("provenance", {}),
        latency=LatencyJson.model_validate(stored[LATENCY]) if LATENCY in stored else None,
        front_pruner=bool(stored.get(FRONT_PRUNER)),
        finals=FinalsJson.model_validate(finals_json(ledger)),
        growth=[StoredExtension.model_validate(change) for change in ledger.growth],
        hidden=dict(ledger.hidden),
        spending=[StoredPhase.model_validate(row) for row in stored.get(SPENT, [])],
        estimate=[StoredPhase.model_validate(row) for row in stored.get(ESTIMATE, [])],
    )
    facts = study_facts(study_json, ledger.spec, {}, experiment="", teacher="")
    curves = pd.DataFrame(_curves(ledger), columns=list(CURVE_COLUMNS))
    return StudyResults(facts, ledger_frame(ledger), curves)


def _curves(ledger: LedgerReader) -> list[dict[str, object]]:
    """The points of the finals' metrics that a report draws, run by run and metric by metric."""
    points: list[dict[str, object]] = []
    for record in ledger.records():
        run = record.assignment
        if run.kind != "final":
            continue
        columns = {"run_id": run.key, "arm": run.arm, "kind": "final", "trial": run.number, "seed": run.seed}
        for name in curve_metrics(ledger.arms[run.arm]):
            points += [
                {**columns, "epoch": epoch.epoch, "metric": name, "value": epoch.metrics[name]}
                for epoch in record.epochs
                if name in epoch.metrics
            ]
    return points
