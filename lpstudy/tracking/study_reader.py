"""A study read from MLflow alone, as the facts and frames of its report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException

from lpstudy.damage import DamagedError
from lpstudy.space import Arm, Scalar, StudySpec, parse_stored
from lpstudy.tables import CURVE_COLUMNS, StudyResults
from lpstudy.tracking.artifact_files import download, upload_file
from lpstudy.tracking.client import all_runs, experiment_name, find_runs, reason, tag
from lpstudy.tracking.frames import runs_frame
from lpstudy.tracking.run_rows import RunReader
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import StudyJson, read_study_json


@dataclass(frozen=True, slots=True)
class StudyFromMlflow:
    """A study's spec and results from MLflow."""

    spec: StudySpec
    results: StudyResults


def read_study(client: MlflowClient, study: str) -> StudyFromMlflow:
    """Read a study from MLflow.

    Raises:
        ValueError: MLflow has no such study; the message names the others. Or lpstudy did not write it.
        DamagedError: A run is not as lpstudy writes it.
    """
    experiment = find_experiment(client, study)
    by_kind: dict[str, list[Run]] = {}
    for run in all_runs(client, experiment):
        by_kind.setdefault(run.data.tags.get(tag("kind"), ""), []).append(run)
    if "report" not in by_kind:
        raise ValueError(f"MLflow's experiment {experiment_name(study)!r} was not written by lpstudy")
    try:
        study_json = _study_json(client, by_kind["report"][0])
        spec = parse_stored(study_json.spec, "spec")
    except (MlflowException, OSError) as error:
        if isinstance(error, RequestException):
            raise
        raise ValueError(
            f"MLflow has the runs of study {study!r} but not their file study.json ({reason(error)}):"
            f" lpstudy reconcile {study} writes it again"
        ) from None
    except ValueError as error:
        raise DamagedError("MLflow", study, "study.json", error) from None
    rows = RunReader(client, study, spec)
    arms, trials, candidates, finals = (
        [run for run in by_kind.get(kind, []) if run.data.tags.get(tag("arm")) not in study_json.hidden]
        for kind in ("arm", "trial", "candidate", "final")
    )
    parents = {rows.arm(run).name: run for run in arms}
    table = [rows.row(run) for run in (*trials, *candidates, *finals)]
    table += [row for run in parents.values() for row in rows.infeasible(run)]
    curves = [point for run in finals for point in rows.curves(run)]
    return StudyFromMlflow(
        spec,
        StudyResults(
            study_facts(
                study_json,
                spec,
                {name: run.info.run_id for name, run in parents.items()},
                experiment=experiment.experiment_id,
                teacher=by_kind.get("teacher", by_kind["report"])[0].info.run_id,
            ),
            runs_frame(table),
            pd.DataFrame(curves, columns=list(CURVE_COLUMNS)),
        ),
    )


def log_report(client: MlflowClient, study: str, files: Mapping[str, Path]) -> None:
    """Upload the report's files to the run named `report`, each under its path in the report's folder.

    Raises:
        MlflowException: Or another of MLFLOW_ERRORS: MLflow does not accept the files.
    """
    run = find_runs(client, find_experiment(client, study))["report"]
    try:
        for name, path in files.items():
            upload_file(client, run.location, path, str(Path("report") / Path(name).parent))
    except OSError as error:  # from this machine's disk, where MLflow stores files
        if isinstance(error, RequestException):
            raise
        raise MlflowException(f"files of runs: {error}") from error
    client.set_tag(run.run_id, tag("state"), "finished")
    client.set_terminated(run.run_id, "FINISHED")


def find_experiment(client: MlflowClient, study: str) -> Experiment:
    """Find a study's experiment.

    Raises:
        ValueError: MLflow has no such study; the message names the others.
    """
    experiment = client.get_experiment_by_name(experiment_name(study))
    if experiment is None or experiment.lifecycle_stage == "deleted":
        names = ", ".join(list_studies(client)) or "none"
        raise ValueError(f"MLflow has no study {study!r}; it has {names}")
    return experiment


def list_studies(client: MlflowClient) -> list[str]:
    """The names of the studies in MLflow."""
    prefix = experiment_name("")
    experiments = client.search_experiments(filter_string=f"name LIKE '{prefix}%'")
    return sorted(e.name.removeprefix(prefix) for e in experiments if " " not in e.name)


def searched_trials(arm: Arm, runs: pd.DataFrame) -> list[tuple[dict[str, Scalar], float]]:
    """The searched values and validation accuracies of an arm's finished trials."""
    trials = runs[(runs["arm"] == arm.name) & (runs["kind"] == "trial") & (runs["state"] == "finished")]
    return list(zip(trials["searched"], trials["validation_accuracy"], strict=True))


def _study_json(client: MlflowClient, run: Run) -> StudyJson:
    with TemporaryDirectory() as folder:
        return read_study_json(download(client, run.info.artifact_uri, "study.json", folder))
