"""The facts of a study on what it costs: what teacher and bank have spent, and the estimate of its plan."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from lpstudy.ledger.stored_values import Count, Finite, StoredModel, StoredText
from lpstudy.spending import PhaseSpending

SPENT = "spending"
"""The fact with what teacher and bank have spent: rows of `StoredPhase`."""
ESTIMATE = "estimate"
"""The fact with what `lpstudy plan` has estimated of all phases: rows of `StoredPhase`."""
_Figure = Annotated[Finite, Field(ge=0, le=1e100)]


class StoredPhase(StoredModel):
    """See `lpstudy.spending.PhaseSpending`."""

    phase: StoredText
    arm: StoredText = ""
    runs: Count = 1
    macs: _Figure | None = None
    figures: dict[str, _Figure] = Field(default_factory=dict)
    is_earlier: bool = False
    teacher: StoredText = ""

    def row(self) -> PhaseSpending:
        """The row of the report."""
        return PhaseSpending(**self.model_dump())


def stored_phases(facts: Mapping[str, Any], key: str) -> tuple[PhaseSpending, ...]:
    """The rows of a fact; none where a study has no such fact."""
    return tuple(StoredPhase.model_validate(row).row() for row in facts.get(key, ()))


def phase_rows(rows: Iterable[PhaseSpending]) -> list[dict[str, Any]]:
    """Rows as JSON values."""
    return [asdict(row) for row in rows]
