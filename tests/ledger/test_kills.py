"""A process that is killed between two writes of the storage: the next one completes the study."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from storage_writes import KilledError, kill_after

from lpstudy.ledger import Ledger
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

WRITE_COUNT = 18
"""Number of writes of the small study below."""


@pytest.mark.parametrize("writes", range(1, WRITE_COUNT, 2))
def test_a_kill_between_two_writes_loses_nothing_and_repeats_nothing(
    writes: int, make: Make, reopen: Open, play: Any
) -> None:
    spec = make(methods={"bp": {}}, budget={"trials": 2, "epochs": 1, "seeds": 1})
    with pytest.MonkeyPatch.context() as patch:
        kill_after(writes, patch)
        try:
            play.all(reopen(spec))
        except KilledError:
            pass
        else:
            pytest.fail(f"the study makes no {writes} writes")
    ledger = reopen(spec)
    play.all(ledger)
    assert ledger.is_complete()
    records = ledger.records()
    assert [(r.assignment.kind, r.assignment.seed, r.state) for r in records] == [
        ("trial", 0, "finished"),
        ("trial", 0, "finished"),
        ("final", 1, "finished"),
    ]
    assert all(len(record.epochs) == 1 for record in records)
    # What had ended before the kill is not handed out after it; what had not is, as another attempt.
    assert max(Counter(run.key for run in play.handed).values()) <= 2
    assert len(play.handed) <= 4
