"""Studies read from the ledger's rows, without importing the networks that they train."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import Engine

from lpstudy.damage import DamagedError
from lpstudy.ledger.address import display_url
from lpstudy.ledger.arm_rows import ARMS, StoredArms
from lpstudy.ledger.retry import retry_while_locked
from lpstudy.ledger.row_models import REQUIRED_FACTS, StoredSpec
from lpstudy.ledger.rows import StoredStudy, read_extent, read_facts_row, read_rows, read_study_names
from lpstudy.ledger.storage import engine_at
from lpstudy.ledger.study_progress import StudyProgress, StudyRows, Trials

FORMAT = 2
"""Version of the rows that lpstudy writes; incremented when older ledgers become unreadable."""


class HasEngine(Protocol):
    """A storage with a database engine."""

    @property
    def engine(self) -> Engine:
        """The engine of its database."""


def read_study_rows(storage: "str | Engine | HasEngine", study: str) -> StudyRows:
    """Read and validate the rows of a study.

    Args:
        storage: A database's URL, its engine, or a storage with an engine.
        study: The study's name there.

    Raises:
        ValueError: The storage has no such study, or one of another version's format.
        DamagedError: A row is not as lpstudy writes it.
    """
    engine = _engine(storage)
    attributes = read_facts(engine, study)  # before the arms' rows: an arm has rows when the facts name it
    rows = None if attributes is None else _checked_rows(engine, study)
    if attributes is None or rows is None:
        raise ValueError(f"the ledger has no study {study!r}")
    facts, *others = rows
    facts.user_attrs = attributes
    missing = next((key for key in REQUIRED_FACTS if key not in attributes), None)
    if missing is not None:
        if "id" not in attributes and not any(
            one.get_trials() for one in others
        ):  # its first writes are under way
            raise ValueError(f"the ledger has no study {study!r}")
        raise DamagedError("the ledger", study, missing, "is missing")
    return _rows_by_arm(study, facts, others)


def _rows_by_arm(study: str, facts: StoredStudy, others: list[StoredStudy]) -> StudyRows:
    """The rows of the arms that the study file has, and the counts of the hidden ones."""
    search: dict[str, Trials] = {}
    finals: dict[str, Trials] = {}
    for one in others:
        arm, _, kind = one.study_name[len(study) + 1 :].partition("/")
        (finals if kind else search)[arm] = one
    arms = StoredArms.model_validate(facts.user_attrs[ARMS]) if ARMS in facts.user_attrs else None
    known = search.keys() | finals.keys() if arms is None else arms.definitions.keys()
    if not known or known - search.keys() or known - finals.keys():
        raise DamagedError("the ledger", study, "arms", "one has no search or no finals")
    shown = list(search) if arms is None else arms.shown
    if not known >= {*shown}:
        raise DamagedError("the ledger", study, "arms", "one is not defined")
    counts = run_counts(study, others)
    return StudyRows(
        facts,
        {arm: search[arm] for arm in shown},
        {arm: finals[arm] for arm in shown},
        {arm: counts.get(arm, 0) for arm in sorted(known) if arm not in shown},
    )


def run_counts(study: str, rows: Iterable[StoredStudy]) -> Counter[str]:
    """The number of runs of each arm; designs beyond the limits are none."""
    counts: Counter[str] = Counter()
    for one in rows:
        arm = one.study_name[len(study) + 1 :].partition("/")[0]
        counts[arm] += sum("infeasible" not in trial.user_attrs for trial in one.trials)
    return counts


def read_facts(storage: "str | Engine | HasEngine", study: str) -> dict[str, Any] | None:
    """The facts of a study; None where the storage has no such study. Raises as `read_study_rows`."""
    engine = _engine(storage)
    try:
        facts = retry_while_locked(lambda: read_facts_row(engine, study), display_url(str(engine.url)))
    except KeyError:
        return None
    _check_format(study, facts)
    return facts


def _engine(storage: "str | Engine | HasEngine") -> Engine:
    if isinstance(storage, str):
        return engine_at(storage)
    return storage if isinstance(storage, Engine) else storage.engine


def read_progress(storage: "str | Engine | HasEngine", study: str) -> StudyProgress:
    """Read a study's progress; raises as `read_study_rows`."""
    rows = read_study_rows(storage, study)
    budget = StoredSpec.model_validate(rows.facts.user_attrs["spec"]).budget
    return StudyProgress(budget, rows)


def check_rows(engine: Engine, study: str) -> list[StoredStudy]:
    """The rows of a study, before Optuna reads them: its facts first; none for a new study.

    Raises:
        ValueError: Another version of lpstudy wrote it.
        DamagedError: A row is not as lpstudy writes it.
    """
    return _checked_rows(engine, study) or []


def _checked_rows(engine: Engine, study: str) -> list[StoredStudy] | None:
    """The rows of a study in this version's format; None for a study that was never started."""
    try:
        rows = retry_while_locked(lambda: read_rows(engine, study), display_url(str(engine.url)))
    except KeyError:
        return None
    _check_format(study, rows[0].user_attrs)
    return rows


def _check_format(study: str, facts: Mapping[str, Any]) -> None:
    """Refuse a study that another version of lpstudy wrote.

    Raises:
        ValueError: The format differs from this version's.
    """
    version = facts.get("format", 1) if facts else FORMAT
    if version != FORMAT:
        raise ValueError(
            f"the ledger of study {study!r} was written by another version of lpstudy"
            f" (format {version}, this one has {FORMAT}): finish it with that version, or give --fresh"
        )


def study_names(storage: "Engine | HasEngine") -> list[str]:
    """The names of all studies of a storage, sorted."""
    engine = _engine(storage)
    return retry_while_locked(lambda: read_study_names(engine), display_url(str(engine.url)))


def study_version(storage: "Engine | HasEngine", study: str) -> tuple[object, ...]:
    """A value that changes with a study's runs and facts; cheap to read, and equal where nothing changed."""
    engine = _engine(storage)
    return retry_while_locked(lambda: read_extent(engine, study), display_url(str(engine.url)))


def rename_study(storage: "HasEngine", old: str, new: str) -> None:
    """Rename a study in one transaction."""
    table = sqlalchemy.table("studies", sqlalchemy.column("study_name"))
    column = table.c.study_name
    rows = (column == old) | column.startswith(f"{old}/", autoescape=True)
    with storage.engine.begin() as connection:
        name = sqlalchemy.literal(new) + sqlalchemy.func.substr(column, len(old) + 1)
        connection.execute(sqlalchemy.update(table).where(rows).values(study_name=name))
