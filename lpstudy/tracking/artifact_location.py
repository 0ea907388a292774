"""The location of MLflow's run files: choosing it, testing it before a study starts, and uploads."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from lpstudy.disk import is_writable
from lpstudy.folder import Folder, LocalFolder
from lpstudy.ledger import sqlite_file
from lpstudy.model_file import DESCRIPTION, WEIGHTS
from lpstudy.one_line import one_line
from lpstudy.terminal import say
from lpstudy.tracking.artifact_files import is_foreign, upload_file

FOLDER = "mlruns"
"""MLflow's folder of run files, beside a database's file."""
DEFAULT_EXPERIMENT = "0"
"""The id of MLflow's default experiment, which shows where a server stores files."""


def new_location(uri: str, identity: str) -> str | None:
    """The location of a new study's run files, beside the database; None where a server decides.

    MLflow decodes a plain path, so a path that contains an escape such as `%20` is returned as a URI.
    """
    database = sqlite_file(uri)
    if database is None:
        return None
    path = database.absolute().parent / FOLDER / identity
    return str(path) if unquote(str(path)) == str(path) else path.as_uri()


def local_folder(location: str) -> Path | None:
    """A location's folder on this machine; None for any other location."""
    parts = urlsplit(location)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(unquote(location)) if location.startswith("/") else None


def write_problem(client: MlflowClient, experiment: Experiment | None, identity: str = "new") -> str:
    """Why a study's run files cannot be written; empty where they can.

    Args:
        client: A connected client.
        experiment: The study's experiment, if MLflow has one.
        identity: The id of a new study.

    Raises:
        MlflowException, RequestException: The server does not answer.
    """
    location = new_location(client.tracking_uri, identity)
    if experiment is not None and experiment.lifecycle_stage != "deleted":
        location = experiment.artifact_location
    elif location is None:
        try:
            location = client.get_experiment(DEFAULT_EXPERIMENT).artifact_location
        except MlflowException:  # someone has deleted it, so the server's location is not known yet
            return ""
    folder = local_folder(location)
    if folder is not None:
        folder = folder if experiment is not None else folder.parent
        return "" if is_writable(folder) else f"{folder}: cannot be written"
    problem = _upload_problem(client, location)
    # A user without write access to the default experiment may have it in a new one.
    is_forbidden = "403" in problem
    return "" if experiment is None and is_forbidden else problem


def _upload_problem(client: MlflowClient, location: str) -> str:
    """Why a store refuses a file, found by uploading one and deleting it; empty where it does not."""
    name = f"lpstudy-probe-{uuid.uuid4().hex[:8]}"
    try:
        store: Any = get_artifact_repository(location, tracking_uri=client.tracking_uri)
        with TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(b"lpstudy")
            store.log_artifact(str(Path(folder) / name))
    except Exception as error:  # each store's client has its own errors; all are reported alike
        return f"{location}: {error}"
    try:
        store.delete_artifacts(name)
    except Exception as error:  # likewise; a user with write access may have no access to delete
        say(f"note: MLflow keeps the probe {name} at {location}: {one_line(error, 200)}")
    return ""


def is_replaceable(client: MlflowClient, experiment: Experiment, identity: str) -> bool:
    """Whether an experiment's folder cannot be written while a new experiment's folder could.

    This happens after the database and its folder have moved: MLflow still names the previous folder.
    """
    location = new_location(client.tracking_uri, identity)
    if location is None or location == experiment.artifact_location:
        return False
    current, replacement = local_folder(experiment.artifact_location), local_folder(location)
    if current is None or replacement is None or not is_writable(replacement.parent):
        return False
    return is_foreign(experiment.artifact_location, client.tracking_uri) or not is_writable(current)


def files_of(folder: Folder) -> list[str]:
    """The names of a final's files for MLflow: the weights and their description."""
    names = folder.names()
    return [name for name in (WEIGHTS, DESCRIPTION) if name in names]


def missing_files(client: MlflowClient, run_id: str, expected: Iterable[str]) -> list[str]:
    """The expected files that a run lacks."""
    names = list(expected)
    existing = {file.path for file in client.list_artifacts(run_id)} if names else set()
    return [name for name in names if name not in existing]


def upload_files(client: MlflowClient, location: str, folder: Folder, names: Iterable[str]) -> None:
    """Upload files of a folder to a run, via this machine where the folder is remote."""
    for name in names:
        if isinstance(folder, LocalFolder):
            upload_file(client, location, folder.path / name)
            continue
        with TemporaryDirectory() as copy:
            (Path(copy) / name).write_bytes(folder.read(name))
            upload_file(client, location, Path(copy) / name)
