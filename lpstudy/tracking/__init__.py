"""MLflow: what the ledger knows is written there, what the report says is read from there."""

from lpstudy.tracking.client import Client, Facts, connect, experiment_name, tracking_uri
from lpstudy.tracking.projection import Projection
from lpstudy.tracking.reading import Projected, find, log_report, read, searched_trials, studies

__all__ = [
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
    "studies",
    "tracking_uri",
]
