"""The results of a study as its report shows them, from the ledger instead of MLflow."""

import pandas as pd

from lpstudy.ledger import LedgerReader, dump
from lpstudy.tables import CURVE_COLUMNS, StudyResults
from lpstudy.tracking.frames import ledger_frame
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import DataJson, StudyJson, TeacherJson


def ledger_results(ledger: LedgerReader) -> StudyResults:
    """A study's facts and runs, without curves; a run's id is its key.

    The ledger does not record the sizes of the data's parts: they are 0.

    Raises:
        ValueError: The study has no teacher yet, and so no run.
    """
    stored = ledger.facts
    if "teacher" not in stored:
        raise ValueError(f"study {ledger.spec.name!r} has trained no student yet")
    data = DataJson(name=ledger.spec.data.kind, classes=ledger.classes, train=0, validation=0, test=0)
    study_json = StudyJson(
        spec=dump(ledger.spec),
        data=data,
        teacher=TeacherJson.model_validate(stored["teacher"]),
        provenance=stored.get("provenance", {}),
    )
    facts = study_facts(study_json, ledger.spec, {}, experiment="", teacher="")
    return StudyResults(facts, ledger_frame(ledger), pd.DataFrame(columns=list(CURVE_COLUMNS)))
