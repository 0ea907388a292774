"""A study's report: written from MLflow alone, logged to MLflow, and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lpstudy import terminal, tracking
from lpstudy.command.exits import BadInputError
from lpstudy.ledger import hyperparameter_importances
from lpstudy.one_line import one_line
from lpstudy.rendering import Report, console_table, write_report
from lpstudy.space import StudySpec
from lpstudy.tables import StudyResults
from lpstudy.tracking import Client, StudyFromMlflow

PAGE = "http://127.0.0.1:5000"
"""Address at which `mlflow ui` shows a local database."""


@dataclass(frozen=True, slots=True)
class PublishedReport:
    """A written report and its comparison table."""

    report: Report
    table: pd.DataFrame


def publish(client: Client, study: str, reports: Path) -> PublishedReport:
    """Write `reports/<study>/` from the study in MLflow.

    Raises:
        BadInputError: MLflow has no such study, or something else under its name.
    """
    stored = read_stored(client, study)
    results = stored.results
    uri = tracking.display_uri(tracking.tracking_uri())
    page = uri.rstrip("/") if uri.startswith("http") else PAGE

    def link(run_id: str) -> str:
        return f"{page}/#/experiments/{results.facts.experiment_id}/runs/{run_id}"

    folder = reports / study
    report = write_report(folder, results, importances(stored.spec, results), links=link)
    tracking.log_report(client, study, {str(path.relative_to(folder)): path for path in report.files})
    return PublishedReport(report, results.comparison)


def importances(spec: StudySpec, results: StudyResults) -> dict[str, Mapping[str, float]]:
    """Each searched hyperparameter's share in [0, 1], for the name of each arm that has enough trials."""
    arm_searches = results.searches
    enough = {one.result.arm.name for one in arm_searches if one.can_tell_importances}
    return {
        arm.name: hyperparameter_importances(arm, tracking.searched_trials(arm, results.runs))
        for arm in spec.arms()
        if arm.name in enough
    }


def read_stored(client: Client, study: str) -> StudyFromMlflow:
    """Read a study from MLflow for a report.

    Raises:
        BadInputError: MLflow has no such study, or something else under its name.
    """
    if not study.isprintable() or study in ("", ".", "..") or {"/", "\\"} & {*study}:
        raise BadInputError(f"{study!r} is not a valid study name: the report's folder has this name")
    try:
        return tracking.read_study(client, study)
    except tracking.MLFLOW_ERRORS:
        raise  # some of them are ValueErrors too
    except ValueError as error:
        raise BadInputError(one_line(error)) from None


def print_report(published: PublishedReport, study: str) -> None:
    """Print the comparison table and the paths of report and MLflow."""
    terminal.show(*console_table(published.table).split("\n"), "")
    terminal.show(f"report  {published.report.markdown}")
    terminal.show(f"page    {published.report.markdown.with_suffix('.html')}")
    server = tracking.display_uri(tracking.tracking_uri())
    terminal.show(f"MLflow  {server}, experiment {tracking.experiment_name(study)}")
