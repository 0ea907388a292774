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
    if not _is_known(delta):
        return ""
    level = LEVEL / tests
    if (seeds := needed_seeds(delta, level)) is not None:
        more = seeds - delta.n
        return f"{more} more seed{'s' * (more > 1)}"
    images, search = _beyond_seeds(delta, level)
    if hypot(images, search) >= abs(delta.mean) > 0:
        return MORE_SEARCHES if search > images else MORE_IMAGES
    return f"more than {MOST_SEEDS} more seeds"


def needed_seeds(delta: Interval, level: float) -> int | None:
    """The smallest larger number of seeds that finds a true difference of this size in 80 % of studies.

    None where at most 100 more are not enough, or the spread is not known.

    Args:
        delta: The difference, with its spread.
        level: The level of the test.
    """
    if not _is_known(delta):
        return None
    n = delta.n + np.arange(1, MOST_SEEDS + 1)
    seeds = stdtrit(n - 1, 1 - level / 2) + stdtrit(n - 1, POWER)
    spread = seeds * np.sqrt(delta.seed_variance * delta.n / n)
    enough = np.hypot(spread, hypot(*_beyond_seeds(delta, level))) <= abs(delta.mean)
    return int(n[enough.argmax()]) if enough.any() else None


def _is_known(delta: Interval) -> bool:
    """Whether the spread over seeds is known."""
    return not (delta.n < 2 or (delta.is_tied and delta.n == 2) or not isfinite(delta.mean))


def _beyond_seeds(delta: Interval, level: float) -> tuple[float, float]:
    """What the test images alone, and other searches alone, hide: more seeds do not help against it."""
    quantile = 1 - level / 2
    images = float(ndtri(quantile) + ndtri(POWER)) * sqrt(delta.test_variance)
    search = (delta.searches.quantile(quantile) + delta.searches.quantile(POWER)) * sqrt(
        delta.searches.variance
    )
    return images, search
