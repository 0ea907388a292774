"""The epochs of arms that spend the compute of another method on longer training."""

from collections.abc import Iterator

import torch

from lpstudy.command.teacher_stand_in import outputs_stand_in, teacher_stand_in
from lpstudy.data import Data
from lpstudy.ledger import SEARCH_SEED
from lpstudy.space import Arm, StudySpec
from lpstudy.space.method_tables import COMPUTE_OF, EPOCHS
from lpstudy.space.ranges import corners
from lpstudy.teacher import BankPlan
from lpstudy.training import TeacherOutputs
from lpstudy.training.trainer import Trainer

CPU = torch.device("cpu")


def with_epochs(spec: StudySpec, data: Data, plan: BankPlan) -> StudySpec:
    """The study in which each arm with `compute_of` has its epochs.

    epochs = MACs(other, budget.epochs) / MACs(arm, 1), rounded to whole epochs: training MACs as the report
    has them, with the teacher's outputs of the other method; of the first end of each searched range.

    Raises:
        ValueError: The student is searched in size, or not trained by the other method.
    """
    arms = {arm.name: arm for arm in spec.arms()}
    long_arms = [arm for arm in arms.values() if arm.compute_of]
    if not long_arms:
        return spec
    outputs = outputs_stand_in(plan, teacher_stand_in(spec.teacher, data, CPU))
    data = data.with_views(plan.views)
    epochs: dict[str, dict[str, int]] = {}
    for arm in long_arms:
        where, label = f"methods.{arm.method}.{COMPUTE_OF}", arm.student.label
        if EPOCHS in spec.methods[arm.method]:
            raise ValueError(f"methods.{arm.method}.{EPOCHS}: is computed from {COMPUTE_OF}; leave it out")
        if arm.student.searched:
            raise ValueError(f"{where}: needs students of one size, but {label} is searched in size")
        other = arms.get(f"{arm.compute_of}-{label}")
        if other is None:
            raise ValueError(f"{where}: {label} is not trained by {arm.compute_of}: see students.methods")
        spent = _training_macs(other, data, outputs, epochs=spec.budget.epochs)
        per_epoch = _training_macs(arm, data, None, epochs=1)
        epochs.setdefault(arm.method, {})[label] = max(1, round(spent / per_epoch))
    methods = {
        name: table | ({EPOCHS: epochs[name]} if name in epochs else {})
        for name, table in spec.methods.items()
    }
    return spec.model_copy(update={"methods": methods})


def epoch_lines(spec: StudySpec) -> Iterator[str]:
    """The epochs of these arms, a line each."""
    for arm in spec.arms():
        if arm.compute_of:
            yield (
                f"{arm.name}: {arm.epochs} epochs, the training MACs of {spec.budget.epochs} epochs of"
                f" {arm.compute_of} with its share of the teacher's outputs"
            )


def _training_macs(arm: Arm, data: Data, outputs: TeacherOutputs | None, *, epochs: int) -> float:
    """Multiply-accumulates of a run of so many epochs, as the run itself counts them."""
    values = next(corners(arm.searched))
    run = Trainer(arm.resolve(values, epochs=epochs, seed=SEARCH_SEED), data.to(CPU), outputs, CPU)
    images = run.steps_per_epoch * run.data.train.batch_length(run.training.batch_size)
    return run.macs.of_training(epochs, images)
