"""Whether a study has spent its budget of computing time or money, by what the ledger has of its runs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from lpstudy.ledger.row_models import EPOCHS
from lpstudy.ledger.spending_rows import SPENT, stored_phases
from lpstudy.spending import Prices

SECONDS = {"cpu_hours": "cpu_seconds", "gpu_hours": "gpu_seconds"}


class Limits(Protocol):
    """The part of a budget after which no trial starts."""

    @property
    def cpu_hours(self) -> float | None:
        """Hours of CPU time."""

    @property
    def gpu_hours(self) -> float | None:
        """Hours of a GPU."""

    @property
    def money(self) -> float | None:
        """The price of both."""


def spent_limits(limits: Limits, facts: Mapping[str, Any], trials: Iterable[FrozenTrial]) -> list[str]:
    """The keys of [budget] of which nothing is left.

    What earlier studies spent on teacher and bank does not count. Runs count as far as they have reported.

    Args:
        limits: The study's budget.
        facts: The facts of the study, with its prices and the costs of teacher and bank.
        trials: All runs, of search and finals.
    """
    amounts = {name: getattr(limits, name) for name in (*SECONDS, "money")}
    if all(amount is None for amount in amounts.values()):
        return []
    rows = [row.figures for row in stored_phases(facts, SPENT) if not row.is_earlier]
    rows += [_last_metrics(trial) for trial in trials]
    seconds = {name: sum(row.get(name, 0.0) for row in rows) for name in SECONDS.values()}
    spent = {name: seconds[figure] / 3600 for name, figure in SECONDS.items()}
    spent["money"] = prices_of(facts).money(seconds) or 0.0
    return [name for name, amount in amounts.items() if amount is not None and spent[name] >= amount]


def prices_of(facts: Mapping[str, Any]) -> Prices:
    """The prices in a study's stored spec."""
    cost = facts["spec"].get("cost", {})
    return Prices(cost.get("price_per_cpu_hour"), cost.get("price_per_gpu_hour"), cost.get("currency", ""))


def limit_words(limits: Limits) -> Iterator[tuple[str, str]]:
    """Each limit as its key and its amount in words."""
    for name in (*SECONDS, "money"):
        if (amount := getattr(limits, name)) is not None:
            yield name, f"{amount:g}"


def _last_metrics(trial: FrozenTrial) -> Mapping[str, float]:
    """The metrics of a run's last reported epoch; empty before the first."""
    newest = max((key for key in trial.user_attrs if key.startswith(EPOCHS)), default=None)
    metrics: Mapping[str, float] = {} if newest is None else trial.user_attrs[newest][-1]["metrics"]
    return metrics
