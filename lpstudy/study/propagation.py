"""What Tune hands from the driver's variables to the trials."""

from ray.tune.execution import class_cache

SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"})


def withhold_secrets() -> None:
    """Leave AWS credentials out of what Tune hands on, for Ray writes that into its logs as it is.

    On this machine trials inherit the variables; the nodes of a cluster have credentials of their own.

    Source: `_ActorClassCache` in ray/tune/execution/class_cache.py, Ray 2.60.
    """
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)
