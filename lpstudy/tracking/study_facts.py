"""What a report knows of a study, from what its ledger says of it or MLflow's `study.json`."""

from collections.abc import Mapping

from lpstudy.space import StudySpec, TeacherSpec
from lpstudy.tables import ArmFacts, StudyFacts, TeacherFacts
from lpstudy.tables.facts import TRIALS
from lpstudy.tracking.study_json import StudyJson

UNLOGGED = {"checkpoint_seconds", "precision"}
"""Left out of a run's parameters: one changes no result, the other is a tag."""


def study_facts(
    told: StudyJson, spec: StudySpec, arms: Mapping[str, str], *, experiment: str, teacher: str
) -> StudyFacts:
    """What a report knows of a study.

    Args:
        told: What its ledger and `study.json` say.
        spec: The study.
        arms: Ids of the arms' runs in MLflow.
        experiment: Id of the experiment.
        teacher: Id of the teacher's run.
    """
    data = told.data
    budget = spec.budget
    words = {
        TRIALS: str(budget.trials),
        "epochs": str(budget.epochs),
        "seeds of the finals": str(budget.seeds),
    }
    words |= {"pruner": pruner_words(spec)} | ({"hours": f"{budget.hours:g}"} if budget.hours else {})
    return StudyFacts(
        name=spec.name,
        data=data.name,
        classes=data.classes,
        train_samples=data.train,
        validation_samples=data.validation,
        test_samples=data.test,
        teacher=_teacher(told, spec.teacher, teacher),
        arms=tuple(
            ArmFacts(
                name=arm.name,
                method=arm.method,
                student=arm.student.label,
                objectives=arm.objectives,
                ranges={name: str(space) for name, space in arm.searched.items()},
                fixed={name: str(value) for name, value in arm.fixed.items() if name not in UNLOGGED},
                run_id=arms.get(arm.name, ""),
                points=arm.points,
            )
            for arm in spec.arms()
        ),
        budget=words,
        provenance=told.provenance,
        experiment_id=experiment,
    )


def pruner_words(spec: StudySpec) -> str:
    """The pruner in words: it stops no trial of an arm that searches depth or width too."""
    searched = [arm.objectives > 1 for arm in spec.arms()]
    if spec.budget.pruner == "none" or not any(searched):
        return spec.budget.pruner
    if all(searched):
        return "none, for depth or width are searched"
    return f"{spec.budget.pruner}, none where depth or width are searched"


def _teacher(study: StudyJson, spec: TeacherSpec, run: str) -> TeacherFacts:
    told = study.teacher
    return TeacherFacts(
        label=told.label,
        test_accuracy=None if told.file_classes is not None else told.test_accuracy,
        validation_accuracy=told.validation_accuracy,
        chance=study.data.chance,
        file_classes=told.file_classes,
        parameters=told.parameters,
        macs=told.macs,
        training_macs=None if spec.weights else told.training_macs,
        seed=None if spec.weights else told.seed,
        weights_hash=told.sha256,
        run_id=run,
        family=spec.network.family,
        depth=spec.depth,
        width=spec.width,
    )
