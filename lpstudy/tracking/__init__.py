"""The MLflow projection of the ledger: it is written from the ledger and read for the report."""

from lpstudy.tracking.client import (
    DEFAULT_URI,
    MLFLOW_ERRORS,
    Client,
    MlflowUnavailableError,
    check_files,
    connect,
    display_uri,
    experiment_name,
    offline_client,
    reason,
    tracking_uri,
)
from lpstudy.tracking.ledger_results import has_results, ledger_results, study_metadata
from lpstudy.tracking.model_registry import ALIAS, download_run, register_folder
from lpstudy.tracking.projection import Projection
from lpstudy.tracking.reconciliation import Difference, compare, repair
from lpstudy.tracking.study_metadata import StudyMetadata
from lpstudy.tracking.study_reader import (
    StudyFromMlflow,
    find_experiment,
    list_studies,
    log_report,
    read_study,
    searched_trials,
)

__all__ = [
    "ALIAS",
    "DEFAULT_URI",
    "MLFLOW_ERRORS",
    "Client",
    "Difference",
    "MlflowUnavailableError",
    "Projection",
    "StudyFromMlflow",
    "StudyMetadata",
    "check_files",
    "compare",
    "connect",
    "display_uri",
    "download_run",
    "experiment_name",
    "find_experiment",
    "has_results",
    "ledger_results",
    "list_studies",
    "log_report",
    "offline_client",
    "read_study",
    "reason",
    "register_folder",
    "repair",
    "searched_trials",
    "study_metadata",
    "tracking_uri",
]
