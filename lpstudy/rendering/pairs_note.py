"""Where the report's reader finds every pair of methods."""

from collections.abc import Sequence

from lpstudy.rendering.markdown import Markdown
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.pairs import has_pairs


def pairs_note(results: Sequence[ArmResult]) -> list[Markdown]:
    """The note on pairs.csv; none where no two methods of a student have results of one size."""
    if not has_pairs(results):
        return []
    return [
        Markdown(
            "Every two methods of a student are in [pairs.csv](pairs.csv): their difference with a t and a "
            "permutation test, each alone and corrected over the pairs with `bp`, with `kd`, with the best "
            "and over all pairs."
        )
    ]
