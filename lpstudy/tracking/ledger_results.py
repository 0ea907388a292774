"""The results of a study as its report shows them, from the ledger instead of MLflow."""

import pandas as pd

from lpstudy.ledger import FRONT_PRUNER, LATENCY, LedgerReader, dump
from lpstudy.tables import CURVE_COLUMNS, StudyResults
from lpstudy.tracking.frames import ledger_frame
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import DataJson, LatencyJson, StudyJson, TeacherJson


def ledger_results(ledger: LedgerReader) -> StudyResults:
    """A study's facts and runs, without curves; a run's id is its key.

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
    )
    facts = study_facts(study_json, ledger.spec, {}, experiment="", teacher="")
    return StudyResults(facts, ledger_frame(ledger), pd.DataFrame(columns=list(CURVE_COLUMNS)))
