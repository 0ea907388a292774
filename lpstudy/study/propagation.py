"""The driver's environment variables that Tune passes to the trials."""

from ray.tune.execution import class_cache

SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"})


def withhold_secrets() -> None:
    """Remove AWS credentials from the variables that Tune passes on: Ray writes these into its logs.

    Trials on this machine inherit the variables; the nodes of a cluster have their own credentials.

    Source: `_ActorClassCache` in ray/tune/execution/class_cache.py, Ray 2.60.
    """
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)
