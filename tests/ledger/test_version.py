"""The value by which readers know that a study has changed."""

from collections.abc import Callable

from lpstudy.ledger import Assignment, Lease, Ledger, engine_at, study_version
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]


def test_it_changes_with_runs_epochs_ends_and_facts_and_with_nothing_else(
    make: Make, reopen: Open, url: str
) -> None:
    ledger = reopen(make())
    reopen(make(name="other"))
    engine = engine_at(url)
    versions = [study_version(engine, "small")]

    def note() -> None:
        versions.append(study_version(engine, "small"))

    run = ledger.next()
    assert isinstance(run, Assignment)
    note()
    for epoch in (1, 2):
        ledger.report(run, [EpochResult(epoch, {"validation_accuracy": 50.0})])
        note()
    ledger.finish(run, "finished")
    note()
    for value in (["a"], ["b"]):
        ledger.set_fact("exhausted", value)
        note()
    assert len({*map(repr, versions)}) == len(versions)
    lease = Lease(engine, "small")
    lease.acquire()
    lease.release({"state": "finished"})
    reopen(make(name="other")).next()
    assert study_version(engine, "small") == versions[-1]
    engine.dispose()
