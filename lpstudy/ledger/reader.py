"""Read access to a study's ledger, with the study's spec."""

from collections.abc import Mapping

from sqlalchemy import Engine

from lpstudy.damage import DamagedError
from lpstudy.ledger.growth import stored_spec
from lpstudy.ledger.study_progress import StudyProgress, StudyRows
from lpstudy.ledger.study_rows import HasEngine, read_study_rows
from lpstudy.space import Arm, Scalar, StudySpec


class LedgerReader(StudyProgress):
    """A study's progress with its spec and arms.

    Args:
        spec: The study.
        input_shape: (channels, height, width) of the images.
        classes: Number of classes.
        rows: The study's Optuna studies, as read or as written.
    """

    def __init__(
        self, spec: StudySpec, rows: StudyRows, *, input_shape: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__(spec.budget, rows)
        self.spec, self.input_shape, self.classes = spec, input_shape, classes
        self.arms = {arm.name: arm for arm in spec.arms()}

    def seeds_of_running_finals(self) -> set[int]:
        """The seeds of unfinished finals, where each seed has a teacher of its own."""
        assignments = [record.assignment for record in self.records() if record.state == "running"]
        return {one.seed for one in assignments if one.kind == "final" and self.spec.finals.new_teachers}

    def check(self) -> None:
        """Check the rows against the spec.

        Raises:
            DamagedError: The arms differ, or a run's hyperparameters are not those that its arm searches.
        """
        if self.arm_names != tuple(self.arms):
            raise DamagedError("the ledger", self.spec.name, "arms", f"must be {', '.join(self.arms)}")
        for record in self.records():
            assignment = record.assignment
            try:
                self._check_values(self.arms[assignment.arm], assignment.values)
            except ValueError as error:
                raise DamagedError(
                    "the ledger", self.spec.name, "params", error, run=assignment.key
                ) from None

    @staticmethod
    def _check_values(arm: Arm, values: Mapping[str, Scalar]) -> None:
        searched = arm.searched.keys()
        if values.keys() != searched:
            raise ValueError(f"must be {', '.join(searched) or 'none'} but are {', '.join(values) or 'none'}")
        arm.resolve(values, epochs=1, seed=0)


def read_ledger(storage: str | Engine | HasEngine, name: str) -> LedgerReader:
    """Read a study's ledger from its storage, under its current name there.

    Raises:
        ValueError: The storage has no such study.
        DamagedError: A row is not as lpstudy writes it.
    """
    rows = read_study_rows(storage, name)
    facts = rows.facts.user_attrs
    spec = stored_spec(name, facts["spec"]).model_copy(update={"name": name})
    channels, height, width = facts["input_shape"]
    ledger = LedgerReader(spec, rows, input_shape=(channels, height, width), classes=facts["classes"])
    ledger.check()
    return ledger
