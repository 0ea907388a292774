"""The number of seeds that would decide a difference."""

from math import hypot, isfinite, sqrt

import numpy as np
from scipy.special import ndtri, stdtrit

from lpstudy.tables.intervals import LEVEL, POWER, Interval

MOST_SEEDS = 100
"""Seeds beyond which no number is given."""
MORE_IMAGES = "more test images"
"""What is needed where no number of seeds is enough."""
MORE_SEARCHES = "more searches"
"""The same where the spread between searches hides the difference."""


def to_decide(delta: Interval, tests: int) -> str:
    """What a test needs to find a true difference of the observed size in 80 % of studies.

    That is "1 more seed", ..., "100 more seeds", "more than 100 more seeds"; "more test images" where the
    test set's part alone hides the difference, "more searches" where that of repeated searches does, and ""
    where the spread over seeds is not known. With n seeds at the observed spread the smallest difference
    found is the root of (t + t_0.8)² s²/n + (z + z_0.8)² test_variance (and the same of the searches), t and
    z of the level 5 %/tests, at which Holm's correction rejects whatever the other tests give.

    Args:
        delta: The observed difference.
        tests: The number of tests in the correction.

    Source: Noether (1987), J. Amer. Statist. Assoc. 82 (sample size at a power); Holm (1979).
    """
    if delta.n < 2 or (delta.is_tied and delta.n == 2) or not isfinite(delta.mean):
        return ""
    quantile = 1 - LEVEL / tests / 2
    n = delta.n + np.arange(1, MOST_SEEDS + 1)
    images = float(ndtri(quantile) + ndtri(POWER)) * sqrt(delta.test_variance)
    search = (delta.searches.quantile(quantile) + delta.searches.quantile(POWER)) * sqrt(
        delta.searches.variance
    )
    beyond = hypot(images, search)
    seeds = stdtrit(n - 1, quantile) + stdtrit(n - 1, POWER)
    enough = np.hypot(seeds * np.sqrt(delta.seed_variance * delta.n / n), beyond) <= abs(delta.mean)
    if enough.any():
        more = int(enough.argmax()) + 1
        return f"{more} more seed{'s' * (more > 1)}"
    if beyond >= abs(delta.mean) > 0:
        return MORE_SEARCHES if search > images else MORE_IMAGES
    return f"more than {MOST_SEEDS} more seeds"
