"""The facts of a study in its report, from its `study.json`."""

from collections.abc import Iterator, Mapping, Sequence

from lpstudy.class_accuracy import unpack_labels
from lpstudy.latency_row import LatencyRow
from lpstudy.ledger import extension_words, hidden_words, limit_words
from lpstudy.seed_range import looks_of, seeds_words
from lpstudy.space import Arm, Range, StudySpec, next_range, section_of, sharing, toml_words, value_text
from lpstudy.space.published import TEACHER
from lpstudy.tables import ArmFacts, StudyFacts, TeacherFacts
from lpstudy.tables.facts import TRIALS, FinalsFacts, NumberRange, PublishedFacts
from lpstudy.tables.latency import LatencyFacts
from lpstudy.tracking.study_json import DataJson, LatencyJson, StudyJson

OMITTED_PARAMETERS = {"checkpoint_seconds", "precision"}
"""Keys omitted from a run's parameters: one changes no result, the other is a tag."""


def study_facts(
    study_json: StudyJson, spec: StudySpec, arms: Mapping[str, str], *, experiment: str, teacher: str
) -> StudyFacts:
    """The facts of a study for its report.

    Args:
        study_json: The content of `study.json`.
        spec: The study's spec.
        arms: The ids of the arms' runs in MLflow.
        experiment: The experiment's id.
        teacher: The id of the teacher's run.
    """
    data = study_json.data
    budget = spec.budget
    words = {
        TRIALS: str(budget.trials),
        "epochs": str(budget.epochs),
        "seeds of the finals": seeds_words(budget.seeds),
    }
    words |= {"pruner": pruner_words(spec, judges_fronts=study_json.front_pruner)} | (
        {"hours": f"{budget.hours:g}"} if budget.hours else {}
    )
    words |= {name.replace("_", " "): amount for name, amount in limit_words(budget)}
    return StudyFacts(
        name=spec.name,
        data=data.name,
        classes=data.classes,
        train_samples=data.train,
        validation_samples=data.validation,
        test_samples=data.test,
        teacher=_teacher(study_json, spec, teacher),
        arms=tuple(
            ArmFacts(
                name=arm.name,
                method=arm.method,
                student=arm.student.label,
                objectives=arm.objectives,
                ranges={name: str(space) for name, space in arm.searched.items()},
                fixed=fixed_words(arm),
                run_id=arms.get(arm.name, ""),
                points=arm.points,
                diagnostics=arm.diagnostics,
                search=arm.search,
                published=_published(spec, arm.method, arm.student.label),
                epochs=arm.epochs,
                compute_of=arm.compute_of,
                numbers=_numbers(arm, spec.arms()),
            )
            for arm in spec.arms()
        ),
        budget=words,
        provenance=study_json.provenance,
        experiment_id=experiment,
        label_words=tuple(_label_words(spec, data)),
        latency=_latency(study_json.latency),
        test_labels=None if data.test_labels is None else unpack_labels(data.test_labels),
        class_names=tuple(data.class_names),
        looks=() if isinstance(budget.seeds, int) else looks_of(budget.seeds),
        finals=_finals(study_json, spec),
        growth=tuple(extension_words(change) for change in study_json.growth),
        hidden=hidden_words(study_json.hidden),
        spending=tuple(stored.row() for stored in study_json.spending),
        estimate=tuple(stored.row() for stored in study_json.estimate),
        prices=spec.cost.prices,
    )


def _finals(study_json: StudyJson, spec: StudySpec) -> FinalsFacts:
    stored = study_json.finals
    students = {arm.name: arm.student.label for arm in spec.arms()}
    decisions = {
        students[arm]: f"{students[arm]}: {one.why}" for arm, one in stored.seeds.items() if arm in students
    }
    return FinalsFacts(
        vary=spec.finals.vary,
        searches=spec.finals.searches,
        candidates=stored.candidates,
        decisions=tuple(decisions.values()),
        teachers=tuple(one.test_accuracy for one in stored.teachers.values()),
    )


def _numbers(arm: Arm, arms: Sequence[Arm]) -> dict[str, NumberRange]:
    """The searched ranges of numbers, with what to search next beyond their ends."""
    numbers = {}
    for name, space in arm.searched.items():
        if isinstance(space, Range):
            alike = sharing(arm, name, arms)
            beyond = [next_range(alike, name, upwards=upwards) for upwards in (False, True)]
            below, above = (
                "" if one is None else toml_words(one, integer=arm.integer(name)) for one in beyond
            )
            ends, section = (float(space.low), float(space.high)), section_of(arm, name)
            numbers[name] = NumberRange(*ends, space.log, below, above, section)
    return numbers


def _latency(stored: LatencyJson | None) -> LatencyFacts | None:
    if stored is None:
        return None
    machine = stored.machine
    words = [machine.cpu, f"{machine.cores} cores", *([machine.gpu] if machine.gpu else []), machine.system]
    words += [f"{name} {version}" for name, version in machine.versions.items()]
    rows = tuple(LatencyRow(**row.model_dump()) for row in stored.rows)
    return LatencyFacts(", ".join(words), rows, tuple(stored.skipped))


def _published(spec: StudySpec, method: str, student: str) -> PublishedFacts | None:
    """What the study file says of a published result of a method on a student."""
    for result in spec.published:
        if (result.method, result.student) == (method, student):
            has_same_recipe = result.epochs == spec.budget.epochs
            return PublishedFacts(result.value, result.source, result.note, has_same_recipe)
    return None


def _label_words(spec: StudySpec, data: DataJson) -> Iterator[str]:
    """Sentences on labels where some images have none, or the teacher has other ones than the students."""
    labels, teacher = spec.data.labels_per_class, spec.teacher.labels_per_class
    labelled = data.labelled if labels is None else labels * data.classes
    if spec.data.unlabelled is not None and labelled is not None:
        each = "" if labels is None else f", {labels} in each class"
        yield (
            f"Of these images {labelled:,} have labels{each}"
            f" ({spec.data.labelled_share:g} of every batch): CE is their mean, and the teacher's terms read"
            " all images. Back-prop trains on the labelled part of every batch alone, in as many steps"
        )
    if teacher is not None:
        number = "all labels of the training part" if teacher == "all" else f"{teacher} labels in each class"
        yield f"The teacher learned from {number}"


def pruner_words(spec: StudySpec, *, judges_fronts: bool) -> str:
    """The pruner as text, and how it judges the trials of arms that search depth or width, if it does."""
    has_two_objectives = [arm.objectives > 1 for arm in spec.arms()]
    if spec.budget.pruner == "none" or not any(has_two_objectives):
        return spec.budget.pruner
    if judges_fronts:
        return f"{spec.budget.pruner}, by accuracy and MACs where depth or width are searched"
    if all(has_two_objectives):
        return "none, for depth or width are searched"
    return f"{spec.budget.pruner}, none where depth or width are searched"


def _teacher(study: StudyJson, study_spec: StudySpec, run: str) -> TeacherFacts:
    facts, spec = study.teacher, study_spec.teacher
    return TeacherFacts(
        label=facts.label,
        test_accuracy=None if facts.file_classes is not None else facts.test_accuracy,
        validation_accuracy=facts.validation_accuracy,
        chance=study.data.chance,
        file_classes=facts.file_classes,
        parameters=facts.parameters,
        macs=facts.macs,
        training_macs=None if spec.weights else facts.training_macs,
        seed=None if spec.weights else facts.seed,
        weights_hash=facts.sha256,
        run_id=run,
        family=spec.network.family,
        depth=spec.depth,
        width=spec.width,
        published=_published(study_spec, TEACHER, spec.network.label()),
        test_balanced_accuracy=None if facts.file_classes is not None else facts.test_balanced_accuracy,
        test_top5_accuracy=None if facts.file_classes is not None else facts.test_top5_accuracy,
        test_ece=None if facts.file_classes is not None else facts.test_ece,
        test_nll=None if facts.file_classes is not None else facts.test_nll,
        test_brier=None if facts.file_classes is not None else facts.test_brier,
        shifts=facts.shifts or {},
    )


def fixed_words(arm: Arm) -> dict[str, str]:
    """What no trial of an arm varies; first the method, where the arm's table has another name."""
    method = {"method": arm.loss} if arm.loss != arm.method else {}
    fixed = {name: value for name, value in arm.fixed.items() if name not in OMITTED_PARAMETERS}
    return method | {name: value_text(value) for name, value in fixed.items()}
