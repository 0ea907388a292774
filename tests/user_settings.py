"""What a user's environment may name that a test's study is not to use."""

UNSET = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")
"""What would lead a study away from its own folder and machine."""
