"""What the report says of a budget that differs: few points to search, trials added later."""

import pandas as pd

from lpstudy.rendering.markdown import Markdown
from lpstudy.rendering.sections import arm_words
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.facts import EPOCHS, TRIALS, StudyFacts


def budget_notes(study: StudyFacts, results: list[ArmResult]) -> list[Markdown]:
    """Arms with fewer different trials than the budget, and arms whose test set was read more than once."""
    trials, epochs = (int(study.budget.get(name, "0")) for name in (TRIALS, EPOCHS))
    few = [
        f"{arm_words(result.arm)} ({result.arm.points} of {trials})"
        for result in results
        if result.arm.points is not None and result.arm.points < trials
    ]
    again = [
        f"{arm_words(result.arm)} ({len(result.finals_by_trial)} winners)"
        for result in results
        if len(result.finals_by_trial) > 1
    ]
    found = []
    pruned = pd.concat([result.trials[result.trials["state"].eq("pruned")] for result in results])
    known = pruned["epochs"].dropna()
    ran = sum(len(result.trials) - result.states.get("infeasible", 0) for result in results)
    saved = int(epochs * len(known) - known.sum())
    if saved > 0:
        found.append(
            Markdown(
                f"The pruner ended {len(pruned)} of {ran} trials early: {saved:,} of {ran * epochs:,} epochs"
                f" of the search ({100 * saved / (ran * epochs):.0f} %) were not trained."
            )
        )
    if few:
        found.append(
            Markdown(
                "Arms whose search spaces have fewer different points than the budget has trials, each of"
                f" which was tried once: {', '.join(few)}."
            )
        )
    if again:
        found.append(
            Markdown(
                "The test set was read for more than one winner, as trials were added after the finals; the"
                f" winner of all trials is in the table: {', '.join(again)}."
            )
        )
    return found
