"""The frame of a study's runs, as the tables take it: from the ledger, or typed as from MLflow."""

import pandas as pd

from lpstudy.cost import cost_of
from lpstudy.ledger import LedgerReader, Record
from lpstudy.space import Arm
from lpstudy.students import StudentSpec
from lpstudy.tables import RUN_COLUMNS

NUMBERS = (
    "validation_accuracy",
    "test_accuracy",
    "parameters",
    "macs",
    "auxiliary_parameters",
    "training_macs",
    "teacher_macs",
    "seconds",
)
WHOLE = ("trial", "seed", "attempt", "epochs", "depth", "width")


def ledger_frame(book: LedgerReader) -> pd.DataFrame:
    """A row for each trial and final of the ledger; a run's id is its key."""
    rows = [_row(book, record) for record in book.records()]
    return typed(pd.DataFrame(rows, columns=list(RUN_COLUMNS)))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with numbers in the columns of numbers, missing ones too."""
    frame = frame.astype(dict.fromkeys(NUMBERS, "float64"))
    return frame.astype(dict.fromkeys(WHOLE, "Int64"))


def design_columns(arm: Arm, student: StudentSpec) -> dict[str, object]:
    """What a run trains: its arm, its method and its network."""
    return {
        "arm": arm.name,
        "method": arm.method,
        "student": student.label(),
        "family": student.family,
        "design": student.design,
        "depth": student.depth,
        "width": student.width,
    }


def _row(book: LedgerReader, record: Record) -> dict[str, object]:
    run = record.assignment
    arm = book.arms[run.arm]
    spec = arm.student_spec(run.values)
    cost = cost_of(spec, input_shape=book.input_shape, classes=book.classes)
    numbers = dict(record.last) | {"parameters": cost.parameters, "macs": cost.macs}
    return {
        "run_id": run.key,
        "kind": run.kind,
        **design_columns(arm, spec),
        "trial": run.number,
        "seed": run.seed,
        "attempt": run.attempt,
        "state": record.state,
        "epochs": len(record.epochs),
        **{name: numbers.get(name) for name in NUMBERS},
        "hyperparameters": arm.fixed | dict(run.values),
        "searched": dict(run.values),
        "warnings": list(record.warnings),
        "test_correct": record.test_correct,
    }
