"""The first points that a study takes from another one, resolved once and stored in its ledger."""

from argparse import Namespace
from collections.abc import Iterator

from lpstudy.command.begun_study import BegunStudy
from lpstudy.command.study_ledgers import existing_study, ledger_engine, ledger_name
from lpstudy.ledger import LedgerReader, StoredWarmStart, arms_words, read_ledger, warm_points
from lpstudy.space import StudySpec


def resolve_warm_start(
    args: Namespace, spec: StudySpec, earlier_study: BegunStudy | None
) -> StoredWarmStart | None:
    """The first points of all arms; the other study is read only for arms that have none in the ledger.

    Raises:
        ValueError: There is no such study, or it has no finished trial.
        DamagedError: A row of its ledger is not as lpstudy writes it.
    """
    if spec.warm_start is None or vars(args).get("storage") is None:
        return None
    stored = earlier_study.warm_start if earlier_study is not None else None
    if stored is None:
        stored = StoredWarmStart(study=spec.warm_start.study, points={})
    new = [arm for arm in spec.arms() if arm.name not in stored.points]
    if not new:
        return stored
    other = _read(args, spec.warm_start.study)
    found = {arm.name: warm_points(arm, other, top=spec.warm_start.top) for arm in new}
    return StoredWarmStart(
        study=stored.study,
        points=stored.points | {name: list(one.points) for name, one in found.items()},
        notes=[*stored.notes, *(note for one in found.values() for note in one.notes)],
    )


def _read(args: Namespace, study: str) -> LedgerReader:
    try:
        name = existing_study(args.storage, args.ledger, study)
        engine = ledger_engine(args.storage / name, args.ledger)
        other = read_ledger(engine, ledger_name(name, args.ledger))
    except ValueError as error:
        raise ValueError(f"warm_start.study: {error}") from None
    if not any(one.state == "finished" for one in other.records() if one.assignment.kind == "trial"):
        raise ValueError(f"warm_start.study: {study!r} has no finished trial")
    return other


def warm_start_words(warm_start: StoredWarmStart, spec: StudySpec) -> Iterator[str]:
    """How many points the arms have, and what was skipped; one line each."""
    arms: dict[int, list[str]] = {}
    for arm in spec.arms():
        arms.setdefault(len(warm_start.points.get(arm.name, ())), []).append(arm.name)
    parts = [
        f"{count or 'no'} point{'s' * (count != 1)} for {arms_words(names)}"
        for count, names in sorted(arms.items(), reverse=True)
    ]
    yield f"warm start from {warm_start.study}: {'; '.join(parts)}"
    names = {arm.name for arm in spec.arms()}
    yield from (note for note in warm_start.notes if note.partition(": ")[0] in names)
