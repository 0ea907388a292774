"""Names, descriptions and parameters of a study's runs for MLflow's pages."""

from collections.abc import Mapping
from urllib.parse import quote

from mlflow.entities import Param

from lpstudy.ledger import Assignment
from lpstudy.space import Arm, StudySpec, value_text
from lpstudy.students import StudentSpec
from lpstudy.tracking.client import tag
from lpstudy.tracking.study_facts import OMITTED_PARAMETERS

NOTE = "mlflow.note.content"
"""The tag that MLflow's page shows as the description."""


def run_name(arm: Arm, assignment: Assignment) -> str:
    """The name of a run: "kd convnet-d3-w6 trial 3", "kd convnet-d3-w6 seed 2"."""
    which = f"trial {assignment.number}"
    if assignment.kind == "candidate":
        which += f" again, seed {assignment.seed}"
    elif assignment.kind == "final":
        which = f"seed {assignment.seed}"
    if arm.search > 1:
        which += f", search {arm.search}"
    return f"{arm.method} {arm.student_spec(assignment.values).label()} {which}"


def experiment_note(spec: StudySpec, experiment: str) -> str:
    """The description of the study's experiment."""
    return (
        f"Study `{spec.name}` of lpstudy: knowledge distillation from one teacher"
        f" ({spec.teacher.network.label()}) into small students.\n\n{_comparison_help(experiment)}"
    )


def arm_note(arm: Arm, experiment: str) -> str:
    """The description of an arm's run."""
    return (
        f"Arm `{arm.name}`: method {arm.method} on student {arm.student.label}{_search_words(arm)}."
        " Its trials and finals lie"
        " below it. `test_accuracy_mean` is the mean over the finals' seeds with its 95 % interval"
        " (`test_accuracy_low`, `test_accuracy_high`); `difference_to_bp` is the mean difference to `bp` with"
        " the same student, paired by seed, with its interval and its p-value with Holm's correction over the"
        " student's methods (`difference_to_bp_p_holm`); further ones are those of the report's"
        f" `comparison.csv`.\n\n{_comparison_help(experiment)}"
    )


def _search_words(arm: Arm) -> str:
    return f", search {arm.search} of the same method on the same student" if arm.search > 1 else ""


def run_note(arm: Arm, assignment: Assignment) -> str:
    """The description of a trial's or final's run."""
    if assignment.kind == "trial":
        return f"Trial {assignment.number} of the search of arm `{arm.name}`: `validation_accuracy` decides."
    if assignment.kind == "candidate":
        return (
            f"Trial {assignment.number} of arm `{arm.name}` trained again on seed {assignment.seed}: the mean"
            " `validation_accuracy` over three seeds decides which of the best trials goes to the finals."
        )
    return (
        f"Final of arm `{arm.name}` on seed {assignment.seed}: trial {assignment.number}, which won the"
        " search, trained again; `test_accuracy` is read once, after the last epoch."
    )


def teacher_note(spec: StudySpec) -> str:
    """The description of the teacher's run."""
    has_user_weights = spec.teacher.weights is not None
    how = "with weights of the user's own" if has_user_weights else "trained once for the study"
    return f"The teacher of all arms, {how}. The tag `{tag('weights')}` says where its weights are."


def report_note() -> str:
    """The description of the report's run."""
    return "The study as a whole: `study.json`, and the report once it is written (folder `report`)."


def _comparison_help(experiment: str) -> str:
    filters = {"the arms": "arm", "the finals": "final"}
    links = [
        f"[{what}](#/experiments/{experiment}/runs?searchFilter={quote(_filter(kind))})"
        for what, kind in filters.items()
    ]
    return (
        f"To compare methods, show {' or '.join(links)} alone (filter `{_filter('arm')}`), select their"
        " runs and press Compare; the report's table says which differences are beyond noise."
    )


def _filter(kind: str) -> str:
    return f"tags.`{tag('kind')}` = '{kind}'"


def design_params(arm: Arm, spec: StudentSpec | None) -> dict[str, object]:
    """Method and student as parameters; `spec` is None for an arm whose student's size is searched."""
    values = dict(arm.student.fixed) if spec is None else spec.model_dump(exclude_none=True)
    label = arm.student.label if spec is None else spec.label()
    sizes = {key: values[key] for key in ("family", "design", "depth", "width") if key in values}
    return {"method": arm.method, "student": label, **sizes}


def params(values: Mapping[str, object]) -> list[Param]:
    """Hyperparameters as MLflow's parameters."""
    return [
        Param(name, value_text(value)) for name, value in values.items() if name not in OMITTED_PARAMETERS
    ]
