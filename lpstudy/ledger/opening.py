"""The opening of a study's Optuna studies for the one process that writes them, as its spec allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna

from lpstudy.ledger.arm_rows import ARMS
from lpstudy.ledger.growth import begun_arms, check_space
from lpstudy.ledger.storage import engine_of
from lpstudy.ledger.storage_mirror import open_study, set_facts
from lpstudy.ledger.study_rows import check_rows, run_counts
from lpstudy.space import StudySpec

if TYPE_CHECKING:  # it takes long to import
    from lpstudy.ledger.optuna_storage import Storage


@dataclass(frozen=True, slots=True)
class OpenedStudy:
    """The Optuna studies of a study in its storage."""

    facts: optuna.Study
    search: Mapping[str, optuna.Study]
    finals: Mapping[str, optuna.Study]
    hidden: Mapping[str, int]
    """The number of runs of each arm that the spec no longer has."""

    @property
    def all(self) -> tuple[optuna.Study, ...]:
        """All of them."""
        return (self.facts, *self.search.values(), *self.finals.values())


def open_arms(storage: "Storage", spec: StudySpec) -> OpenedStudy:
    """Open or create the Optuna studies of a study and of its spec's arms.

    Raises:
        ValueError: The study was begun with another space, or by another version of lpstudy.
        DamagedError: A row is not as lpstudy writes it.
    """
    rows = check_rows(engine_of(storage), spec.name)
    facts = rows[0].user_attrs if rows else {}
    check_space(spec, facts)
    meta = open_study(storage, spec.name, 1)
    arms = begun_arms(spec.name, facts)
    if arms is not None and ARMS not in facts:  # so that readers ignore the rows that follow
        set_facts(storage, meta, {ARMS: arms.model_dump(mode="json", exclude_none=True)})
    objectives = {arm.name: arm.objectives for arm in spec.arms()}
    # Finals first: an arm without them would be a damaged one.
    finals = {arm: open_study(storage, f"{spec.name}/{arm}/finals", 1) for arm in objectives}
    search = {arm: open_study(storage, f"{spec.name}/{arm}", n) for arm, n in objectives.items()}
    known = () if arms is None else sorted(arms.definitions.keys() - objectives.keys())
    counts = run_counts(spec.name, rows)
    return OpenedStudy(meta, search, finals, {arm: counts.get(arm, 0) for arm in known})
