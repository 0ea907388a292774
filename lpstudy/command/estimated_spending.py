"""What a study will spend by its plan: in words, and kept in the cache for the report."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from pydantic import TypeAdapter

from lpstudy.cache import shared_cache
from lpstudy.command.prepare import PreparedStudy
from lpstudy.command.quantities import duration
from lpstudy.figures.style import count_words
from lpstudy.ledger import StoredPhase, dump, limit_words, phase_rows
from lpstudy.space import Budget
from lpstudy.spending import PHASES, PhaseSpending, Prices, joined

_ROWS = TypeAdapter(list[StoredPhase])
NOTHING = "–"
AFTER_SEARCH = ("candidate", "final")
"""The phases of runs that follow the search, which no budget of time or money stops."""


def run_figures(seconds: float, cpu: float, gpus: float) -> dict[str, float]:
    """The figures of a run that takes so many seconds.

    Args:
        seconds: Wall seconds.
        cpu: Seconds of CPU time in each of them.
        gpus: The run's share of a GPU; 0 on the CPU.
    """
    return {"cpu_seconds": cpu * seconds, "gpu_seconds": gpus * seconds, "wall_seconds": seconds}


def spending_lines(rows: Sequence[PhaseSpending], prices: Prices) -> Iterator[str]:
    """A table of the phases, and of all together."""
    has_gpu = any(row.figures.get("gpu_seconds") for row in rows)
    has_price = prices.money({"cpu_seconds": 0.0, "gpu_seconds": 0.0}) is not None
    heads = [
        "runs",
        "CPU time",
        *(["GPU time"] if has_gpu else []),
        "MACs",
        *(["price"] if has_price else []),
    ]
    yield f"{'spending, estimated':<30} " + " ".join(f"{head:>12}" for head in heads)
    phases = [(words, [row for row in rows if row.phase == phase]) for phase, words in PHASES.items()]
    for words, part in [*phases, ("together", list(rows))]:
        if not part:
            continue
        row = joined(part, "")
        cells = [f"{row.runs:,}", _seconds(row, "cpu_seconds")]
        cells += [_seconds(row, "gpu_seconds")] if has_gpu else []
        cells += [NOTHING if row.macs is None else count_words(row.macs)]
        cells += [money_words(prices.money(row.figures), prices)] if has_price else []
        yield f"{words:<30} " + " ".join(f"{cell:>12}" for cell in cells)


def limit_lines(rows: Sequence[PhaseSpending], limits: Budget, prices: Prices) -> Iterator[str]:
    """Whether the budget of computing time and money lasts until the last trial has started, a line each."""
    until, after = (
        joined([row for row in rows if (row.phase in AFTER_SEARCH) == is_after], "")
        for is_after in (False, True)
    )
    for name, amount in limit_words(limits):
        needed, more = (_amount(name, part.figures, prices) for part in (until, after))
        limit = float(getattr(limits, name))
        if needed is None or more is None:
            continue
        words = "is enough" if needed <= limit else "is not enough, the last trials would not start"
        yield (
            f"[budget] {name} = {amount} {words}: about {needed:.3g} until the search ends, without pruning;"
            f" what follows runs in any case and takes about {more:.3g}"
        )


def _amount(name: str, figures: Mapping[str, float], prices: Prices) -> float | None:
    if name == "money":
        return prices.money(figures)
    seconds = figures.get(f"{name.removesuffix('_hours')}_seconds")
    return None if seconds is None else seconds / 3600


def money_words(money: float | None, prices: Prices) -> str:
    """A sum of money in words: 12.30 EUR."""
    return NOTHING if money is None else f"{money:,.2f} {prices.currency}".rstrip()


def _seconds(row: PhaseSpending, name: str) -> str:
    return duration(row.figures[name]) if name in row.figures else NOTHING


def keep_estimate(prepared: PreparedStudy, rows: Sequence[PhaseSpending], *, gpus: float) -> None:
    """Keep the estimate in the cache for a sweep of this very study; without room there, it is not kept."""
    with suppress(OSError):
        shared_cache().write(_name(prepared, gpus), json.dumps(phase_rows(rows)).encode())


def kept_estimate(prepared: PreparedStudy, *, gpus: float) -> list[PhaseSpending]:
    """The estimate of an earlier `lpstudy plan` of this very study; none where there was no such plan."""
    try:
        stored = _ROWS.validate_json(shared_cache().read(_name(prepared, gpus)))
    except (OSError, ValueError):  # no plan was made, or its file is damaged; only the report shows it
        return []
    return [row.row() for row in stored]


def _name(prepared: PreparedStudy, gpus: float) -> str:
    """The name of the estimate of a study with its budget, on its data and with this share of a GPU."""
    identity = json.dumps([dump(prepared.spec), prepared.data.fingerprint, gpus], sort_keys=True)
    return f"plans/{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
