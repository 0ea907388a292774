"""A trial that computes nothing; apart from all else, so that the process it runs in imports little."""

import time
from typing import Any

from ray import tune


def sleep_and_report(config: dict[str, Any]) -> None:
    """Tune function: wait as long as the epochs of each report take, then send it.

    Args:
        config: `reports`, and the `seconds` before each.
    """
    for report, seconds in zip(config["reports"], config["seconds"], strict=True):
        time.sleep(seconds)
        tune.report(report)
