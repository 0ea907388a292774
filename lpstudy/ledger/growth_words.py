"""The growth of a study in words, for console, status and report."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from lpstudy.ledger.arm_rows import StoredExtension


def arm_groups(arms: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Arms of the same methods on the same students as one: `kd, lp on 3 students`, with their names."""
    students: dict[str, list[str]] = {}
    for name in arms:
        method, _, student = name.partition("-")
        students.setdefault(method, []).append(student)
    methods: dict[tuple[str, ...], list[str]] = {}
    for method, names in students.items():
        methods.setdefault(tuple(names), []).append(method)
    for where_names, group in methods.items():
        where = where_names[0] if len(where_names) == 1 else f"{len(where_names)} students"
        yield (
            f"{', '.join(group)} on {where}",
            [f"{method}-{student}" for method in group for student in where_names],
        )


def arms_words(arms: Iterable[str]) -> str:
    """Arms in words."""
    return " and ".join(words for words, _ in arm_groups(arms))


def change_words(change: StoredExtension) -> str:
    """What a change of a study adds, hides and restores."""
    parts = [
        f"{what}: {arms_words(arms)}"
        for what, arms in (("new", change.added), ("hidden", change.hidden), ("shown again", change.restored))
        if arms
    ]
    budgets = (
        ("trials per arm", change.trials),
        ("seeds of the finals", change.seeds),
        ("designs of a front with finals", change.front),
    )
    parts += [f"{name} from {pair[0]} to {pair[1]}" for name, pair in budgets if pair is not None]
    return "; ".join(parts)


def extension_words(change: StoredExtension) -> str:
    """A change of a study with its time, and how many runs there were by then."""
    when = datetime.fromtimestamp(change.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{when}, after {_runs(change.runs)}, lpstudy {change.version}: {change_words(change)}"


def hidden_words(hidden: Mapping[str, int]) -> str:
    """The hidden arms that have runs, and their numbers; empty without any."""
    hidden = {arm: count for arm, count in hidden.items() if count}
    groups = [f"{words}, {_runs(sum(hidden[arm] for arm in arms))}" for words, arms in arm_groups(hidden)]
    pronoun = "it is" if len(hidden) == 1 else "they are"
    return f"{'; '.join(groups)}, since {pronoun} no longer in the study file" if groups else ""


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
