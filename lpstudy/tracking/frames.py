"""The data frame of a study's runs: from the ledger, and the column types of one from MLflow."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lpstudy.cost import cost_of
from lpstudy.damage import SHIFT
from lpstudy.ledger import LedgerReader, Record
from lpstudy.space import Arm
from lpstudy.spending import SPENDING, STEP_SECONDS
from lpstudy.students import StudentSpec
from lpstudy.tables import COST_COLUMNS, RUN_COLUMNS, shift_columns
from lpstudy.tables.facts import TEST_COLUMNS

NUMBER_COLUMNS = (
    "validation_accuracy",
    "test_accuracy",
    *TEST_COLUMNS,
    "parameters",
    "macs",
    "auxiliary_parameters",
    *COST_COLUMNS,
    "training_macs",
    "teacher_macs",
    "seconds",
    STEP_SECONDS,
    *SPENDING,
)
CURVE_METRICS = ("validation_accuracy", "train_loss")
"""Metrics of the finals that a report draws epoch by epoch, besides the method's diagnostics."""
TIME_COLUMNS = ("started", "ended")
INTEGER_COLUMNS = ("trial", "seed", "attempt", "epochs", "depth", "width")


def ledger_frame(ledger: LedgerReader) -> pd.DataFrame:
    """A frame with one row per trial and final of the ledger; a run's id is its key."""
    rows = [_row(ledger, record) for record in ledger.records()]
    return runs_frame(rows)


def curve_metrics(arm: Arm) -> tuple[str, ...]:
    """The metrics of an arm's finals of which every epoch is in the frame of curves."""
    return (*CURVE_METRICS, *(one.name for one in arm.diagnostics))


def runs_frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """The frame of runs, with numeric column types also for missing values."""
    shifts = shift_columns({name for row in rows for name in row})
    frame = pd.DataFrame(rows, columns=[*RUN_COLUMNS, *shifts])
    frame = frame.astype(dict.fromkeys((*NUMBER_COLUMNS, *TIME_COLUMNS, *shifts), "float64"))
    return frame.astype(dict.fromkeys(INTEGER_COLUMNS, "Int64"))


def design_columns(arm: Arm, student: StudentSpec) -> dict[str, object]:
    """The columns of a run's arm, method and network."""
    return {
        "arm": arm.name,
        "method": arm.method,
        "student": student.label(),
        "family": student.family,
        "design": student.design,
        "depth": student.depth,
        "width": student.width,
    }


def time_of(milliseconds: float | None) -> float | None:
    """A time in seconds since 1970, to the millisecond that MLflow stores; None where it is not known."""
    return int(milliseconds) / 1000 if milliseconds else None


def _row(ledger: LedgerReader, record: Record) -> dict[str, object]:
    run = record.assignment
    arm = ledger.arms[run.arm]
    spec = arm.student_spec(run.values)
    cost = cost_of(spec, input_shape=ledger.input_shape, classes=ledger.classes)
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
        **{name: numbers.get(name) for name in NUMBER_COLUMNS},
        **{name: value for name, value in numbers.items() if name.startswith(SHIFT)},
        "started": time_of(1000 * (record.started or 0)),
        "ended": time_of(1000 * (record.ended or 0)),
        "hyperparameters": arm.fixed | dict(run.values),
        "searched": dict(run.values),
        "warnings": list(record.warnings),
        "test_correct": record.test_correct,
    }
