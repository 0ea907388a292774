"""A study read back from MLflow alone: the facts and frames that its report is made of."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.artifacts
import pandas as pd
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException

from lpstudy.correctness import MOST_IMAGES, unpack
from lpstudy.space import Arm, Scalar, StudySpec, TeacherSpec, parse
from lpstudy.tables import CURVE_COLUMNS, RUN_COLUMNS, ArmFacts, StudyFacts, TeacherFacts
from lpstudy.tables.diagnostics import DIAGNOSTICS
from lpstudy.tables.facts import TRIALS
from lpstudy.tracking.client import all_runs, experiment_name, find_runs, reason, tag
from lpstudy.tracking.projection import TEST_CORRECT, UNLOGGED, digest
from lpstudy.tracking.study_json import StudyTold, read_study_json

CURVES = ("validation_accuracy", "train_loss", *DIAGNOSTICS)
"""Metrics of the finals whose every epoch is read."""
NUMBERS = (
    "validation_accuracy",
    "test_accuracy",
    "parameters",
    "macs",
    "auxiliary_parameters",
    "training_macs",
    "teacher_macs",
    "seconds",
)
LARGEST_RECORD = MOST_IMAGES // 6 + 20
"""Bytes of a final's record of its test images."""
TOLERANCE = 1e-6
"""Percentage points between a final's test accuracy and what its record of the test images says."""


@dataclass(frozen=True, slots=True)
class Projected:
    """All that MLflow has of a study."""

    spec: StudySpec
    facts: StudyFacts
    runs: pd.DataFrame
    """Columns `lpstudy.tables.RUN_COLUMNS`."""
    curves: pd.DataFrame
    """Columns `lpstudy.tables.CURVE_COLUMNS`."""


def read(client: MlflowClient, study: str) -> Projected:
    """A study from MLflow.

    Raises:
        ValueError: MLflow has no such study; those it has are named. Or it has another than lpstudy wrote.
    """
    experiment = find(client, study)
    runs = all_runs(client, experiment)
    by_kind: dict[str, list[Run]] = {}
    for run in runs:
        by_kind.setdefault(run.data.tags.get(tag("kind"), ""), []).append(run)
    if "report" not in by_kind:
        raise ValueError(f"MLflow's experiment {experiment_name(study)!r} was not written by lpstudy")
    try:
        told = _study_json(client, by_kind["report"][0])
    except (MlflowException, OSError) as error:
        if isinstance(error, RequestException):
            raise
        raise ValueError(
            f"MLflow has the runs of study {study!r} but not their file study.json ({reason(error)}):"
            f" lpstudy reconcile {study} writes it anew"
        ) from None
    spec = parse(told.spec, "study.json")
    arms = {arm.name: arm for arm in spec.arms()}
    parents = {run.data.tags[tag("arm")]: run for run in by_kind.get("arm", [])}
    children = [*by_kind.get("trial", []), *by_kind.get("final", [])]
    rows = [_row(client, run, arms) for run in children]
    rows += [row for name, run in parents.items() for row in _infeasible(run, arms[name])]
    return Projected(
        spec=spec,
        facts=_facts(experiment, told, spec, parents, by_kind["report"][0].info.run_id),
        runs=_typed(pd.DataFrame(rows, columns=list(RUN_COLUMNS))),
        curves=pd.DataFrame(_curves(client, by_kind.get("final", [])), columns=list(CURVE_COLUMNS)),
    )


def log_report(client: MlflowClient, study: str, files: Mapping[str, Path]) -> None:
    """Put the report's files on the run named `report`, each by its place in the report's folder.

    Raises:
        MlflowException: Or another of UNANSWERED: MLflow does not take them.
    """
    run = find_runs(client, find(client, study))["report"].run_id
    try:
        for place, path in files.items():
            client.log_artifact(run, str(path), str(Path("report") / Path(place).parent))
    except OSError as error:  # of this machine's disk, where MLflow's files lie
        if isinstance(error, RequestException):
            raise
        raise MlflowException(f"files of runs: {error}") from error
    client.set_tag(run, tag("state"), "finished")
    client.set_terminated(run, "FINISHED")


def find(client: MlflowClient, study: str) -> Experiment:
    """The experiment of a study.

    Raises:
        ValueError: MLflow has no such study; those it has are named.
    """
    experiment = client.get_experiment_by_name(experiment_name(study))
    if experiment is None or experiment.lifecycle_stage == "deleted":
        have = ", ".join(studies(client)) or "none"
        raise ValueError(f"MLflow has no study {study!r}; it has {have}")
    return experiment


def studies(client: MlflowClient) -> list[str]:
    """Names of the studies that MLflow has."""
    prefix = experiment_name("")
    found = client.search_experiments(filter_string=f"name LIKE '{prefix}%'")
    return sorted(e.name.removeprefix(prefix) for e in found if " " not in e.name)


def searched_trials(arm: Arm, runs: pd.DataFrame) -> list[tuple[dict[str, Scalar], float]]:
    """Searched values and validation accuracy of an arm's finished trials, typed as they were suggested."""
    mine = runs[(runs["arm"] == arm.name) & (runs["kind"] == "trial") & (runs["state"] == "finished")]
    return list(zip(mine["searched"], mine["validation_accuracy"], strict=True))


def _study_json(client: MlflowClient, run: Run) -> StudyTold:
    with TemporaryDirectory() as folder:
        return read_study_json(_download(client, run, "study.json", folder))


def _row(client: MlflowClient, run: Run, arms: Mapping[str, Arm]) -> dict[str, object]:
    try:
        return _columns(run, arms[run.data.tags[tag("arm")]]) | {"test_correct": _test_correct(client, run)}
    except (KeyError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"MLflow's run {run.info.run_id} is not as lpstudy wrote it: {reason}") from None


def _columns(run: Run, arm: Arm) -> dict[str, object]:
    tags, metrics = run.data.tags, run.data.metrics
    own = arm.searched.keys() | arm.fixed.keys()  # others may have been added by hand
    values = {name: _scalar(text, arm, name) for name, text in run.data.params.items() if name in own}
    spec = arm.student_spec(values)
    return {
        "run_id": run.info.run_id,
        "kind": tags[tag("kind")],
        "arm": arm.name,
        "method": arm.method,
        "student": spec.label(),
        "family": spec.family,
        "design": spec.design,
        "depth": spec.depth,
        "width": spec.width,
        "trial": int(tags[tag("trial")]),
        "seed": int(tags[tag("seed")]),
        "attempt": int(tags.get(tag("attempt"), 1)),
        "state": tags[tag("state")],
        "epochs": int(tags[tag("epochs")]) if tag("epochs") in tags else None,
        **{name: metrics.get(name) for name in NUMBERS},
        "hyperparameters": values,
        "searched": {name: values[name] for name in arm.searched if name in values},
        "warnings": _warnings(tags.get(tag("warnings"), "[]")),
    }


def _test_correct(client: MlflowClient, run: Run) -> str:
    """The record of a final's test images; empty where it has none, as finals of older versions."""
    expected = run.data.tags.get(tag("test_correct"))
    if expected is None:
        return ""
    with TemporaryDirectory() as folder:
        path = _download(client, run, TEST_CORRECT, folder)
        if path.stat().st_size > LARGEST_RECORD:
            raise ValueError(f"{TEST_CORRECT} has more than {LARGEST_RECORD} bytes")
        record = path.read_bytes().decode("ascii", "replace")
    if digest(record) != expected:
        raise ValueError(f"{TEST_CORRECT} has another SHA-256: lpstudy reconcile writes it anew")
    correct, accuracy = unpack(record), run.data.metrics.get("test_accuracy", math.nan)
    if not abs(100 * correct.mean() - accuracy) <= TOLERANCE:
        raise ValueError(f"{TEST_CORRECT} says {100 * correct.mean():.4f} %, test_accuracy {accuracy:.4f} %")
    return record


def _download(client: MlflowClient, run: Run, artifact: str, folder: str) -> Path:
    return Path(
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=artifact, dst_path=folder, tracking_uri=client.tracking_uri
        )
    )


def _warnings(text: str) -> list[str]:
    """A run's warnings; one text where they were so many that the tag was cut."""
    try:
        told = json.loads(text)
    except ValueError:
        return [text]
    return [str(one) for one in told] if isinstance(told, list) else [text]


def _infeasible(run: Run, arm: Arm) -> list[dict[str, object]]:
    """A row for each design that was refused before it ran, for the counts alone."""
    row = {"run_id": "", "kind": "trial", "arm": arm.name, "method": arm.method, "state": "infeasible"}
    row |= {"student": arm.student.label, "family": arm.student.family}
    empty: dict[str, object] = {"hyperparameters": {}, "searched": {}, "warnings": []}
    return [{**row, **empty} for _ in range(int(run.data.metrics.get("trials_infeasible", 0)))]


def _scalar(text: str, arm: Arm, name: str) -> Scalar:
    """A parameter as the study file has it; MLflow keeps text alone."""
    space = arm.searched.get(name, arm.fixed.get(name))
    for choice in getattr(space, "choices", ()):
        if str(choice) == text:
            return choice  # type: ignore[no-any-return]  # one of Choices
    if isinstance(space, bool):
        return text == "True"
    if isinstance(space, str):
        return text
    return int(text) if arm.integer(name) else float(text)


def _facts(
    experiment: Experiment, told: StudyTold, spec: StudySpec, parents: Mapping[str, Run], report: str
) -> StudyFacts:
    data = told.data
    budget = spec.budget
    words = {
        TRIALS: str(budget.trials),
        "epochs": str(budget.epochs),
        "seeds of the finals": str(budget.seeds),
    }
    words |= {"pruner": _pruner(spec)} | ({"hours": f"{budget.hours:g}"} if budget.hours else {})
    return StudyFacts(
        name=spec.name,
        data=data.name,
        classes=data.classes,
        train_samples=data.train,
        validation_samples=data.validation,
        test_samples=data.test,
        teacher=_teacher(told, spec.teacher, report),
        arms=tuple(
            ArmFacts(
                name=arm.name,
                method=arm.method,
                student=arm.student.label,
                objectives=arm.objectives,
                ranges={name: str(space) for name, space in arm.searched.items()},
                fixed={name: str(value) for name, value in arm.fixed.items() if name not in UNLOGGED},
                run_id=parents[arm.name].info.run_id if arm.name in parents else "",
                points=arm.points,
            )
            for arm in spec.arms()
        ),
        budget=words,
        provenance=told.provenance,
        experiment_id=experiment.experiment_id,
    )


def _pruner(spec: StudySpec) -> str:
    """The pruner in words: it stops no trial of an arm that searches depth or width too."""
    searched = [arm.objectives > 1 for arm in spec.arms()]
    if spec.budget.pruner == "none" or not any(searched):
        return spec.budget.pruner
    if all(searched):
        return "none, for depth or width are searched"
    return f"{spec.budget.pruner}, none where depth or width are searched"


def _teacher(study: StudyTold, spec: TeacherSpec, report: str) -> TeacherFacts:
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
        run_id=report,
        family=spec.network.family,
        depth=spec.depth,
        width=spec.width,
    )


def _curves(client: MlflowClient, finals: Iterable[Run]) -> list[dict[str, object]]:
    return [
        {
            "run_id": run.info.run_id,
            "arm": run.data.tags[tag("arm")],
            "kind": "final",
            "trial": int(run.data.tags[tag("trial")]),
            "seed": int(run.data.tags[tag("seed")]),
            "epoch": point.step,
            "metric": name,
            "value": point.value,
        }
        for run in finals
        for name in CURVES
        if name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    ]


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    whole = ("trial", "seed", "attempt", "epochs", "depth", "width")
    frame = frame.astype(dict.fromkeys(NUMBERS, "float64"))
    return frame.astype(dict.fromkeys(whole, "Int64"))
