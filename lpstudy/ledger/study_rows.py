"""A study as its ledger's rows show it, without the code of the networks that it trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import Engine

from lpstudy.damage import DamagedError
from lpstudy.ledger.address import display_url
from lpstudy.ledger.row_models import NEEDED, StoredSpec
from lpstudy.ledger.rows import read_rows, read_study_names
from lpstudy.ledger.storage import engine_at, retry_while_locked
from lpstudy.ledger.study_progress import StudyProgress, Trials

FORMAT = 2
"""Of what is written about trials; raised when a ledger of before cannot be read any more."""


class HasEngine(Protocol):
    """An opened storage."""

    @property
    def engine(self) -> Engine:
        """Its database's."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The Optuna studies of a study."""

    facts: Trials
    search: Mapping[str, Trials]
    """By the arms' names, as the finals."""
    finals: Mapping[str, Trials]


def rows_of(storage: "str | Engine | HasEngine", study: str) -> Rows:
    """The rows of a study, each parsed.

    Args:
        storage: A database's URL, its engine, or what has one.
        study: Its name there.

    Raises:
        ValueError: The storage has no such study, or one of another version's format.
        DamagedError: A row is not as lpstudy writes it.
    """
    engine = engine_at(storage) if isinstance(storage, str) else _engine(storage)
    try:
        facts, *others = retry_while_locked(lambda: read_rows(engine, study), display_url(str(engine.url)))
    except KeyError:  # never begun
        raise ValueError(f"the ledger has no study {study!r}") from None
    known = facts.user_attrs
    check_format(study, known)
    missing = next((key for key in NEEDED if key not in known), None)
    if missing is not None:
        if "id" not in known and not any(one.get_trials() for one in others):  # being begun in this moment
            raise ValueError(f"the ledger has no study {study!r}")
        raise DamagedError("the ledger", study, missing, "is missing")
    search: dict[str, Trials] = {}
    finals: dict[str, Trials] = {}
    for one in others:
        arm, _, kind = one.study_name[len(study) + 1 :].partition("/")
        (finals if kind else search)[arm] = one
    if search.keys() != finals.keys() or not search:
        raise DamagedError("the ledger", study, "arms", "one has no search or no finals")
    return Rows(facts, search, finals)


def _engine(storage: "Engine | HasEngine") -> Engine:
    return storage if isinstance(storage, Engine) else storage.engine


def read_progress(storage: "str | Engine | HasEngine", study: str) -> StudyProgress:
    """Where a study stands; raises as `rows_of`."""
    rows = rows_of(storage, study)
    budget = StoredSpec.model_validate(rows.facts.user_attrs["spec"]).budget
    return StudyProgress(budget, rows.facts, rows.search, rows.finals)


def check_rows(engine: Engine, study: str) -> None:
    """Refuse a study that is not as this version of lpstudy writes it, before Optuna reads it.

    Raises:
        ValueError: Its format is another version's.
        DamagedError: A row is not as lpstudy writes it.
    """
    try:
        facts, *_ = retry_while_locked(lambda: read_rows(engine, study), display_url(str(engine.url)))
    except KeyError:  # it is new
        return
    check_format(study, facts.user_attrs)


def check_format(study: str, facts: Mapping[str, Any]) -> None:
    """Refuse what another version of lpstudy has written.

    Raises:
        ValueError: The format is another one.
    """
    written = facts.get("format", 1) if facts else FORMAT
    if written != FORMAT:
        raise ValueError(
            f"the ledger of study {study!r} was written by another version of lpstudy"
            f" (format {written}, this one has {FORMAT}): finish it with that version, or give --fresh"
        )


def study_names(storage: "Engine | HasEngine") -> list[str]:
    """Every study of a storage, in order."""
    engine = _engine(storage)
    return retry_while_locked(lambda: read_study_names(engine), display_url(str(engine.url)))


def rename_study(storage: "HasEngine", old: str, new: str) -> None:
    """Give a study another name, in one transaction."""
    table = sqlalchemy.table("studies", sqlalchemy.column("study_name"))
    column = table.c.study_name
    mine = (column == old) | column.startswith(f"{old}/", autoescape=True)
    with storage.engine.begin() as connection:
        renamed = sqlalchemy.literal(new) + sqlalchemy.func.substr(column, len(old) + 1)
        connection.execute(sqlalchemy.update(table).where(mine).values(study_name=renamed))
