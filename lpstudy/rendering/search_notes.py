"""The report's notes on the search: pruned epochs, finite search spaces, trials added later."""

from lpstudy.rendering.markdown import Markdown
from lpstudy.rendering.sections import arm_words
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.facts import EPOCHS, TRIALS, StudyFacts


def search_notes(study: StudyFacts, results: list[ArmResult]) -> list[Markdown]:
    """Notes on pruned epochs, arms with few different points, and arms with several winners."""
    trials, epochs = (int(study.budget.get(name, "0")) for name in (TRIALS, EPOCHS))
    few = [
        f"{arm_words(result.arm)} ({result.arm.points} of {trials})"
        for result in results
        if result.arm.points is not None and result.arm.points < trials
    ]
    again = [
        f"{arm_words(result.arm)} ({len(one.finals_by_trial)} {'designs' if one.has_front else 'winners'})"
        for result in results
        for one in result.searches or (result,)
        if len(one.finals_by_trial) > len(one.designs)
    ]
    paragraphs = []
    pruned = [result.trials[result.trials["state"].eq("pruned")]["epochs"] for result in results]
    n_trials = [len(result.trials) - result.states.get("infeasible", 0) for result in results]
    lengths = [result.arm.epochs or epochs for result in results]
    total = sum(runs * length for runs, length in zip(n_trials, lengths, strict=True))
    saved = int(sum((length - runs.dropna()).sum() for runs, length in zip(pruned, lengths, strict=True)))
    if saved > 0:
        paragraphs.append(
            Markdown(
                f"The pruner ended {sum(map(len, pruned))} of {sum(n_trials)} trials early: {saved:,} of"
                f" {total:,} epochs of the search ({100 * saved / total:.0f} %) were not trained."
            )
        )
    if few:
        paragraphs.append(
            Markdown(
                "Arms whose search spaces have fewer different points than the budget has trials, each of"
                f" which was tried once: {', '.join(few)}."
            )
        )
    if again:
        paragraphs.append(
            Markdown(
                "The test set was read for more than one winner, or for more designs than a front has, as"
                " trials were added after the finals; what all trials chose is in the tables:"
                f" {', '.join(again)}."
            )
        )
    return paragraphs
