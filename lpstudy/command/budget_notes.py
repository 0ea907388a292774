"""What to know about a study's budget: trials that an arm cannot use, and finals of earlier winners."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lpstudy.ledger import StudyProgress

if TYPE_CHECKING:  # the networks of a study take seconds to import
    from lpstudy.ledger.row_models import StoredBudget
    from lpstudy.space import Budget


def unused_trials_note(arm: str, points: int, budget: "StoredBudget | Budget") -> str:
    """That an arm's search space has fewer points than the budget has trials; empty where it has not.

    Args:
        arm: Its name.
        points: How many different trials it has.
        budget: Of every arm.
    """
    rest = budget.trials - points
    if rest <= 0:
        return ""
    has = "one point, tried once" if points == 1 else f"{points} points, each tried once"
    return (
        f"{arm}: its search space has {has}; of {budget.trials} trials {rest} would repeat another and"
        f" {'is' if rest == 1 else 'are'} not run. More seeds use such time better:"
        f" --seeds {budget.seeds + rest}"
    )


def budget_notes(standing: StudyProgress, budget: "StoredBudget | Budget") -> Iterator[str]:
    """One line for each thing.

    Args:
        standing: The study as its ledger has it.
        budget: Of the sweep that is to come, or that the ledger knows.
    """
    yield from filter(None, (unused_trials_note(arm, n, budget) for arm, n in standing.points.items()))
    arms = standing.arm_names
    winners = {arm: standing.winners_with_finals(arm) for arm in arms}
    if any(winners.values()) and any(standing.remaining_trials(arm, budget.trials) for arm in arms):
        yield (
            "the finals have read the test set already: an arm whose new trials bring another winner has new"
            " finals, which read it once more"
        )
    for arm, numbers in winners.items():
        if len(numbers) > 1:
            yield (
                f"{arm}: the test set was read for {len(numbers)} winners in turn (trials"
                f" {', '.join(map(str, numbers))}), as trials were added after finals; the last one counts"
            )
