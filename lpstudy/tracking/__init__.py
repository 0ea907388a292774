"""MLflow: what the ledger knows is written there, what the report says is read from there."""

from lpstudy.tracking.client import (
    DEFAULT_URI,
    UNANSWERED,
    Client,
    Facts,
    connect,
    experiment_name,
    shown,
    tracking_uri,
)
from lpstudy.tracking.projection import Projection
from lpstudy.tracking.reading import Projected, find, log_report, read, searched_trials, studies

__all__ = [
    "DEFAULT_URI",
    "UNANSWERED",
    "Client",
    "Facts",
    "Projected",
    "Projection",
    "connect",
    "experiment_name",
    "find",
    "log_report",
    "read",
    "searched_trials",
    "shown",
    "studies",
    "tracking_uri",
]
