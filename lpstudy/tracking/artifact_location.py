"""Where MLflow keeps the files of runs: chosen, tried before a study starts, counted afterwards."""

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
from lpstudy.terminal import say
from lpstudy.tracking.artifact_files import is_foreign, put

FOLDER = "mlruns"
"""Beside a database's file; MLflow's own name for it."""
DEFAULT_EXPERIMENT = "0"
"""MLflow's own, by which is known where a server puts files."""


def new_location(uri: str, identity: str) -> str | None:
    """Where the files of a new study's runs go: beside the database, whatever folder a process works in.

    None where a server or a database of another kind decides. MLflow decodes a plain path: one in which a `%`
    would be read as another letter is given as a URI.
    """
    database = sqlite_file(uri)
    if database is None:
        return None
    path = database.absolute().parent / FOLDER / identity
    return str(path) if unquote(str(path)) == str(path) else path.as_uri()


def local_folder(location: str) -> Path | None:
    """The folder of this machine that a location is; None where it is another kind of place."""
    parts = urlsplit(location)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(unquote(location)) if location.startswith("/") else None


def fault_of(client: MlflowClient, experiment: Experiment | None, identity: str = "new") -> str:
    """Why the files of a study's runs cannot be written; empty where they can.

    Args:
        client: Connected.
        experiment: Of the study, where MLflow has it.
        identity: Of a new one.

    Raises:
        MlflowException, RequestException: The server does not answer.
    """
    location = new_location(client.tracking_uri, identity)
    if experiment is not None and experiment.lifecycle_stage != "deleted":
        location = experiment.artifact_location
    elif location is None:
        try:
            location = client.get_experiment(DEFAULT_EXPERIMENT).artifact_location
        except MlflowException:  # someone has removed it: where the server puts files cannot be known yet
            return ""
    folder = local_folder(location)
    if folder is not None:
        folder = folder if experiment is not None else folder.parent
        return "" if is_writable(folder) else f"{folder}: cannot be written"
    refused = _refused(client, location)
    # In MLflow's own experiment a user may have no right to write, and yet have it in a new one.
    forbidden = "403" in refused  # an experiment of others: a new one may be this user's
    return "" if experiment is None and forbidden else refused


def _refused(client: MlflowClient, location: str) -> str:
    """Why a store takes no file; one is put there and removed."""
    name = f"lpstudy-probe-{uuid.uuid4().hex[:8]}"
    try:
        store: Any = get_artifact_repository(location, tracking_uri=client.tracking_uri)
        with TemporaryDirectory() as made:
            (Path(made) / name).write_bytes(b"lpstudy")
            store.log_artifact(str(Path(made) / name))
    except Exception as error:  # each store's client has errors of its own; all are told as one kind
        return f"{location}: {error}"
    try:
        store.delete_artifacts(name)
    except Exception as error:  # likewise; a user who may write need not be one who may remove
        say(f"note: MLflow keeps the probe {name} at {location}: {' '.join(str(error).split())[:200]}")
    return ""


def is_replaceable(client: MlflowClient, experiment: Experiment, identity: str) -> bool:
    """Whether nothing goes into an experiment's folder, and a new one's would be another that can be written.

    So it is where the database and its folder have moved: MLflow still names the folder where they were.
    """
    location = new_location(client.tracking_uri, identity)
    if location is None or location == experiment.artifact_location:
        return False
    old, new = local_folder(experiment.artifact_location), local_folder(location)
    if old is None or new is None or not is_writable(new.parent):
        return False
    return is_foreign(experiment.artifact_location, client.tracking_uri) or not is_writable(old)


def files_of(folder: Folder) -> list[str]:
    """What a final's folder has that MLflow gets: weights, and what they expect."""
    there = folder.names()
    return [name for name in (WEIGHTS, DESCRIPTION) if name in there]


def missing_files(client: MlflowClient, run_id: str, wanted: Iterable[str]) -> list[str]:
    """Those files that a run lacks."""
    names = list(wanted)
    have = {file.path for file in client.list_artifacts(run_id)} if names else set()
    return [name for name in names if name not in have]


def upload(client: MlflowClient, location: str, folder: Folder, names: Iterable[str]) -> None:
    """Put files of a folder among a run's; MLflow takes those of this machine alone."""
    for name in names:
        if isinstance(folder, LocalFolder):
            put(client, location, folder.path / name)
            continue
        with TemporaryDirectory() as fetched:
            (Path(fetched) / name).write_bytes(folder.read(name))
            put(client, location, Path(fetched) / name)
