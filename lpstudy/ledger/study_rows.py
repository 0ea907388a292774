"""Studies read from the ledger's rows, without importing the networks that they train."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import Engine

from lpstudy.damage import DamagedError
from lpstudy.ledger.address import display_url
from lpstudy.ledger.retry import retry_while_locked
from lpstudy.ledger.row_models import REQUIRED_FACTS, StoredSpec
from lpstudy.ledger.rows import StoredStudy, read_rows, read_study_names
from lpstudy.ledger.storage import engine_at
from lpstudy.ledger.study_progress import StudyProgress, Trials

FORMAT = 2
"""Version of the rows that lpstudy writes; incremented when older ledgers become unreadable."""


class HasEngine(Protocol):
    """A storage with a database engine."""

    @property
    def engine(self) -> Engine:
        """The engine of its database."""


@dataclass(frozen=True, slots=True)
class StudyRows:
    """The Optuna studies that make up one study."""

    facts: Trials
    search: Mapping[str, Trials]
    """The search of each arm, by the arm's name."""
    finals: Mapping[str, Trials]
    """The finals of each arm, by the arm's name."""


def read_study_rows(storage: "str | Engine | HasEngine", study: str) -> StudyRows:
    """Read and validate the rows of a study.

    Args:
        storage: A database's URL, its engine, or a storage with an engine.
        study: The study's name there.

    Raises:
        ValueError: The storage has no such study, or one of another version's format.
        DamagedError: A row is not as lpstudy writes it.
    """
    engine = engine_at(storage) if isinstance(storage, str) else _engine(storage)
    rows = _checked_rows(engine, study)
    if rows is None:
        raise ValueError(f"the ledger has no study {study!r}")
    facts, *others = rows
    attributes = facts.user_attrs
    missing = next((key for key in REQUIRED_FACTS if key not in attributes), None)
    if missing is not None:
        if "id" not in attributes and not any(
            one.get_trials() for one in others
        ):  # its first writes are under way
            raise ValueError(f"the ledger has no study {study!r}")
        raise DamagedError("the ledger", study, missing, "is missing")
    search: dict[str, Trials] = {}
    finals: dict[str, Trials] = {}
    for one in others:
        arm, _, kind = one.study_name[len(study) + 1 :].partition("/")
        (finals if kind else search)[arm] = one
    if search.keys() != finals.keys() or not search:
        raise DamagedError("the ledger", study, "arms", "one has no search or no finals")
    return StudyRows(facts, search, finals)


def _engine(storage: "Engine | HasEngine") -> Engine:
    return storage if isinstance(storage, Engine) else storage.engine


def read_progress(storage: "str | Engine | HasEngine", study: str) -> StudyProgress:
    """Read a study's progress; raises as `read_study_rows`."""
    rows = read_study_rows(storage, study)
    budget = StoredSpec.model_validate(rows.facts.user_attrs["spec"]).budget
    return StudyProgress(budget, rows.facts, rows.search, rows.finals)


def check_rows(engine: Engine, study: str) -> None:
    """Refuse a study with unreadable rows, before Optuna reads it.

    Raises:
        ValueError: Another version of lpstudy wrote it.
        DamagedError: A row is not as lpstudy writes it.
    """
    _checked_rows(engine, study)


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


def rename_study(storage: "HasEngine", old: str, new: str) -> None:
    """Rename a study in one transaction."""
    table = sqlalchemy.table("studies", sqlalchemy.column("study_name"))
    column = table.c.study_name
    rows = (column == old) | column.startswith(f"{old}/", autoescape=True)
    with storage.engine.begin() as connection:
        name = sqlalchemy.literal(new) + sqlalchemy.func.substr(column, len(old) + 1)
        connection.execute(sqlalchemy.update(table).where(rows).values(study_name=name))
