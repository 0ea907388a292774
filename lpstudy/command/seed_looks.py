"""The looks at a study's finals, between which seeds are added: see docs/seeds.md."""

from collections.abc import Mapping, Sequence

from lpstudy import tracking
from lpstudy.ledger import SEEDS, Ledger, StoredSeeds
from lpstudy.seed_range import looks_of
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.open_comparisons import may_decide, open_comparisons
from lpstudy.tables.pairs import pairs_of


def add_seeds(ledger: Ledger) -> list[str]:
    """Look at the finals of every student whose comparisons are open, and store how many seeds it has next.

    All arms of a student have the same seeds. Returns what was decided, a line for each student.
    """
    open_arms = set(ledger.open_arms)
    if not open_arms:
        return []
    merged = tracking.ledger_results(ledger).arms
    students: dict[str, list[str]] = {}
    for arm in ledger.arms.values():
        students.setdefault(arm.student.label, []).append(arm.name)
    looks = looks_of(ledger.spec.budget.seeds)
    decisions: dict[str, StoredSeeds] = {}
    lines = []
    for student, arms in students.items():
        if not open_arms & set(arms):
            continue
        own = [one for one in merged if one.arm.student == student]
        decision = look_at(own, {arm: ledger.seeds_of(arm) for arm in arms}, looks)
        decisions |= dict.fromkeys(arms, decision)
        lines.append(f"{student}: {decision.why}")
    stored = {arm: one.model_dump(mode="json") for arm, one in decisions.items()}
    ledger.set_fact(SEEDS, {**ledger.facts.get(SEEDS, {}), **stored})
    return lines


def look_at(results: Sequence[ArmResult], seeds: Mapping[str, int], looks: Sequence[int]) -> StoredSeeds:
    """The decision on one student.

    Args:
        results: The results of its methods.
        seeds: How many seeds each arm has.
        looks: The planned numbers of seeds.
    """
    now = max(seeds.values())
    if min(seeds.values()) < now:
        return StoredSeeds(seeds=now, is_open=True, why=f"a new arm gets the {now} seeds of the others")
    if not pairs_of(results):
        return StoredSeeds(seeds=now, is_open=False, why=f"{now}, for no two winners are of one size")
    undecided = open_comparisons(results)
    if not undecided:
        return StoredSeeds(seeds=now, is_open=False, why=f"every comparison is decided with {now} seeds")
    count = f"{len(undecided)} comparison{'s are' if len(undecided) > 1 else ' is'} open with {now} seeds"
    further = [look for look in looks if look > now]
    if not further:
        return StoredSeeds(seeds=now, is_open=False, why=f"{count}, the most that the budget has")
    if not any(may_decide(one, looks) for one in undecided):
        return StoredSeeds(
            seeds=now, is_open=False, why=f"{count}; {looks[-1]} seeds could not decide any, at this spread"
        )
    return StoredSeeds(seeds=further[0], is_open=True, why=f"{count}: {further[0] - now} seeds are added")
