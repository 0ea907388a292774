"""Notes on a study's budget: trials that an arm cannot use, and finals of earlier winners."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lpstudy.ledger import StudyProgress, limit_words

if TYPE_CHECKING:  # the networks of a study take seconds to import
    from lpstudy.ledger.row_models import StoredBudget
    from lpstudy.space import Budget


def unused_trials_note(arm: str, points: int, budget: "StoredBudget | Budget") -> str:
    """A note that an arm's search space has fewer points than the budget has trials; empty if it has not.

    Args:
        arm: The arm's name.
        points: The number of different points in its search space.
        budget: The budget of every arm.
    """
    unused = budget.trials - points
    if unused <= 0:
        return ""
    more = f": --seeds {budget.seeds + unused}" if isinstance(budget.seeds, int) else ""
    has = "one point, tried once" if points == 1 else f"{points} points, each tried once"
    return (
        f"{arm}: its search space has {has}; of {budget.trials} trials {unused} would repeat another and"
        f" {'is' if unused == 1 else 'are'} not run. More seeds use such time better{more}"
    )


def budget_notes(progress: StudyProgress, budget: "StoredBudget | Budget") -> Iterator[str]:
    """Notes on a study's budget, one line each.

    Args:
        progress: The study's progress, from its ledger.
        budget: The budget of the next sweep, or the one in the ledger.
    """
    for name, amount in limit_words(budget):
        if name in progress.spent_limits():
            yield f"[budget] {name} = {amount} is spent: no further trial starts, the finals run"
    yield from filter(None, (unused_trials_note(arm, n, budget) for arm, n in progress.points.items()))
    arms = progress.arm_names
    winners = {arm: progress.winners_with_finals(arm) for arm in arms}
    if any(winners[arm] and progress.remaining_trials(arm, budget.trials) for arm in arms):
        yield (
            "the finals have read the test set already: an arm whose new trials bring another winner has new"
            " finals, which read it once more"
        )
    for arm, numbers in winners.items():
        finalists = {trial.number for trial in progress.finals_progress(arm).finalists}
        earlier = [number for number in numbers if number not in finalists]
        if earlier and len(finalists) > 1:
            yield (
                f"{arm}: the test set was read for {len(earlier)} designs (trials"
                f" {', '.join(map(str, earlier))}) that further trials have replaced; they count no longer"
            )
        elif earlier and len(numbers) > 1:
            yield (
                f"{arm}: the test set was read for {len(numbers)} winners in turn (trials"
                f" {', '.join(map(str, numbers))}), as trials were added after finals; the last one counts"
            )
