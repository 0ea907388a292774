"""MLflow: what the ledger knows is written there, what the report says is read from there."""

from lpstudy.tracking.client import (
    DEFAULT_URI,
    MLFLOW_ERRORS,
    AwayError,
    Client,
    StudyMetadata,
    check_files,
    connect,
    display_uri,
    experiment_name,
    reason,
    tracking_uri,
    unconnected,
)
from lpstudy.tracking.projection import Projection
from lpstudy.tracking.reading import StudyFromMlflow, find, log_report, read, searched_trials, studies
from lpstudy.tracking.reconciling import Difference, compare, repair

__all__ = [
    "DEFAULT_URI",
    "MLFLOW_ERRORS",
    "AwayError",
    "Client",
    "Difference",
    "Projection",
    "StudyFromMlflow",
    "StudyMetadata",
    "check_files",
    "compare",
    "connect",
    "display_uri",
    "experiment_name",
    "find",
    "log_report",
    "read",
    "reason",
    "repair",
    "searched_trials",
    "studies",
    "tracking_uri",
    "unconnected",
]
