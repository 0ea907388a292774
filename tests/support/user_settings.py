"""Environment variables of the user that tests do not use."""

UNSET = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")
"""Variables that name another tracking server or cluster."""
