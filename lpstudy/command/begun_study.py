"""A begun study as its ledger has it, before its lease is taken: what its file may still change."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lpstudy.command.study_ledgers import ledger_engine, studies
from lpstudy.data import Data
from lpstudy.ledger import (
    FINALS,
    OUTPUTS,
    WARM_START,
    StoredFinals,
    StoredOutputs,
    StoredWarmStart,
    arm_groups,
    change_words,
    check_space,
    extension,
    read_facts,
    sqlite_file,
    stored_spec,
)
from lpstudy.space import StudySpec
from lpstudy.teacher import BegunOutputs, plan_bank


@dataclass(frozen=True, slots=True)
class BegunStudy:
    """The facts of a begun study."""

    name: str
    facts: Mapping[str, Any]

    def outputs(self, data: Data) -> BegunOutputs:
        """What was decided on the teacher's outputs; of a ledger without that fact, by its spec."""
        if OUTPUTS not in self.facts:
            return plan_bank(stored_spec(self.name, self.facts["spec"]), data).decisions(None)
        stored = StoredOutputs.model_validate(self.facts[OUTPUTS])
        return BegunOutputs(stored.views, frozenset(stored.banked), frozenset(stored.online))

    def change(self, spec: StudySpec) -> str:
        """What a spec adds to the study, hides and restores, in words; empty where nothing changes."""
        change = extension(self.facts, spec, runs=0)
        return "" if change is None else change_words(change)

    def plan(self, spec: StudySpec, trials: Mapping[str, int], finals: Mapping[str, int]) -> Iterator[str]:
        """What a sweep would add to the study, hide and show again, one line each.

        Args:
            spec: The study as its file has it.
            trials: The number of trials of each arm.
            finals: The number of finals of each arm.

        Raises:
            ValueError: A sweep would refuse the spec; the message says why.
        """
        check_space(spec, self.facts)
        change = extension(self.facts, spec, runs=0)
        if change is None:
            return
        for words, arms in arm_groups(change.added):
            count = sum(trials[arm] for arm in arms)
            count_finals = sum(finals[arm] for arm in arms)
            yield f"adds: {words} ({count} trials, {count_finals} finals)"
        rest = change.model_copy(update={"added": []})
        if words := change_words(rest):
            yield f"changes: {words}"

    @property
    def candidates(self) -> int:
        """How many trials of an arm are candidates for its finals."""
        return StoredFinals.model_validate(self.facts.get(FINALS, {})).candidates

    @property
    def front(self) -> int:
        """How many designs of the front of an arm with two objectives have finals."""
        return StoredFinals.model_validate(self.facts.get(FINALS, {})).front

    @property
    def warm_start(self) -> StoredWarmStart | None:
        """The first points from another study; None where it has none."""
        stored = self.facts.get(WARM_START)
        return None if stored is None else StoredWarmStart.model_validate(stored)


def begun_study(args: Namespace, spec: StudySpec) -> BegunStudy | None:
    """The study of the flags as its ledger has it; None for one that has not begun, and with --fresh.

    Raises:
        ValueError: Another version of lpstudy wrote the ledger.
        DamagedError: A row is not as lpstudy writes it.
        UnwritableError: The ledger is locked or its server does not answer.
    """
    flags = vars(args)
    if flags.get("storage") is None or flags.get("fresh"):
        return None
    if args.ledger is None and spec.name not in studies(args.storage, None):
        return None
    file = None if args.ledger is None else sqlite_file(args.ledger)
    if file is not None and not file.is_file():
        return None
    facts = read_facts(ledger_engine(args.storage / spec.name, args.ledger), spec.name)
    return None if facts is None or "id" not in facts else BegunStudy(spec.name, facts)


def stored_outputs(outputs: BegunOutputs) -> dict[str, Any]:
    """The decisions on the teacher's outputs as a fact of the ledger."""
    stored = StoredOutputs(views=outputs.views, banked=sorted(outputs.banked), online=sorted(outputs.online))
    return stored.model_dump(mode="json")
