"""The results of a study as its report shows them, from the ledger instead of MLflow."""

import pandas as pd

from lpstudy.ledger import (
    ESTIMATE,
    FINAL_TEACHERS,
    FRONT_PRUNER,
    LATENCY,
    SEEDS,
    SPENT,
    LedgerReader,
    dump,
)
from lpstudy.tables import CURVE_COLUMNS, StudyResults
from lpstudy.tracking.frames import curve_metrics, ledger_frame
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import StudyJson
from lpstudy.tracking.study_metadata import StudyMetadata


def study_metadata(ledger: LedgerReader) -> StudyMetadata:
    """What `study.json` says, from the ledger of a study that has a teacher."""
    stored = ledger.facts
    return StudyMetadata(
        spec=dump(ledger.spec),
        data=stored["data"],
        teacher=stored["teacher"],
        provenance=stored.get("provenance", {}),
        latency=stored.get(LATENCY),
        growth=ledger.growth,
        hidden=ledger.hidden,
        finals={
            "candidates": ledger.n_candidates,
            "seeds": stored.get(SEEDS, {}),
            "teachers": stored.get(FINAL_TEACHERS, {}),
        },
        front_pruner=bool(stored.get(FRONT_PRUNER)),
        spending=stored.get(SPENT, ()),
        estimate=stored.get(ESTIMATE, ()),
    )


def has_results(ledger: LedgerReader) -> bool:
    """Whether the study has a teacher, and so runs that may have results."""
    return {"teacher", "data"} <= ledger.facts.keys()


def ledger_results(ledger: LedgerReader) -> StudyResults:
    """A study's facts, runs and curves; a run's id is its key.

    Raises:
        ValueError: The study has no teacher yet, and so no run.
    """
    if not has_results(ledger):
        raise ValueError(f"study {ledger.spec.name!r} has trained no student yet")
    study_json = StudyJson.model_validate_json(study_metadata(ledger).as_text())
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
