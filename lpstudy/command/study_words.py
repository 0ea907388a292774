"""Descriptions of a study's teacher and of its outputs in words."""

from lpstudy.command.prepare import PreparedStudy
from lpstudy.command.quantities import size_words
from lpstudy.data import Data
from lpstudy.tables.weak_teacher import chance_warning, is_near_chance
from lpstudy.teacher import BankPlan, TrainedTeacher


def teacher_lines(file: TrainedTeacher, prepared: PreparedStudy) -> list[str]:
    """Lines that describe a trained teacher."""
    if file.file_classes is not None:  # a note has explained this
        return [f"teacher: {file.label}, its last layer untrained"]
    lines = [f"teacher: {file.label}, test {file.test_accuracy:.2f} %"]
    accuracy, chance = file.validation_accuracy, chance_of(prepared.data)
    if is_near_chance(accuracy, chance, len(prepared.data.validation)):
        has_user_weights = prepared.spec.teacher.weights is not None
        lines.append(f"warning: {chance_warning(accuracy, chance, own_weights=has_user_weights)}")
    return lines


def chance_of(data: Data) -> float:
    """Validation accuracy, in percent, of always predicting the largest class."""
    return 100 * int(data.validation.labels.bincount().max()) / len(data.validation)


def bank_words(plan: BankPlan) -> str:
    """Which outputs are stored, which are computed at each step, and why."""
    parts = []
    if plan.banked_outputs:
        names = ", ".join(output.name for output in plan.banked_outputs)
        parts.append(f"{names} stored, {size_words(plan.bytes)} in {plan.dtype}")
    if plan.online:
        parts.append(f"{', '.join(plan.online)} computed at each step")
    return "; ".join([*parts, plan.reason])
