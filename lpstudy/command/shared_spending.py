"""What teachers and their banks, which all arms share, have cost: facts of the ledger."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lpstudy.ledger import SPENT, Ledger, phase_rows, stored_phases
from lpstudy.spending import BANK, TEACHER, PhaseSpending, joined, without
from lpstudy.teacher import TrainedTeacher


@dataclass(frozen=True, slots=True)
class SharedSpending:
    """The costs of a teacher and its bank, with what earlier studies spent on them apart."""

    ledger: Ledger
    teacher: TrainedTeacher
    read_bank: Callable[[], PhaseSpending | None]
    """Reads what the bank has cost up to now, by all studies; None where it is not known."""

    def note_teacher(self, *, is_new: bool) -> None:
        """Store what the teacher cost; nothing for a user's weights.

        Args:
            is_new: Whether this start of the study has trained it; else it was in the cache.
        """
        macs = self.teacher.training_macs
        if not macs:
            return
        row = PhaseSpending(TEACHER, macs=macs, figures=dict(self.teacher.spending or {}))
        stored = self._rows(TEACHER)
        if is_new:  # once more, where the cache had lost it
            own = [one for one in stored if not one.is_earlier]
            self._store(TEACHER, [*(one for one in stored if one.is_earlier), joined([*own, row], TEACHER)])
        elif not stored:
            self._store(TEACHER, [replace(row, is_earlier=True)])

    @contextmanager
    def of_bank(self) -> Iterator[None]:
        """Store what is spent on the bank within the context, though it ends by a pause."""
        empty = PhaseSpending(BANK, runs=0, macs=0.0)
        if not self._rows(BANK):  # the first start
            self._store(BANK, [replace(self.read_bank() or empty, is_earlier=True)])
        try:
            yield
        finally:
            earlier = self._rows(BANK)[0]
            if (together := self.read_bank()) is not None:
                own = without(together, earlier) if earlier.runs else together
                self._store(BANK, [earlier, *([own] if own.runs else [])])

    def _rows(self, phase: str) -> list[PhaseSpending]:
        return [row for row in stored_phases(self.ledger.facts, SPENT) if self._is_mine(row, phase)]

    def _store(self, phase: str, rows: list[PhaseSpending]) -> None:
        others = [row for row in stored_phases(self.ledger.facts, SPENT) if not self._is_mine(row, phase)]
        mine = [replace(row, teacher=self.teacher.key) for row in rows]
        self.ledger.set_fact(SPENT, phase_rows([*others, *mine]))

    def _is_mine(self, row: PhaseSpending, phase: str) -> bool:
        return (row.phase, row.teacher) == (phase, self.teacher.key)
