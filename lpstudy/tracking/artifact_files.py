"""Files of MLflow's runs: where a tracking server says that they are, if that is a place to write to."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path as _untyped_path

from lpstudy.damage import UnusableError
from lpstudy.ledger import sqlite_file
from lpstudy.redaction import without_credentials

REMOTE = ("s3", "r2", "b2", "gs", "wasbs", "abfss", "hdfs", "viewfs", "dbfs", "ftp", "sftp")
"""Stores that a machine reaches with its own credentials."""
OF_SERVER = ("mlflow-artifacts", "http", "https")
"""Where files go through a tracking server, which is the one of the tracking URI."""
LOCAL = ("", "file")


class ForeignLocationError(UnusableError):
    """A tracking server keeps a run's files where its store is not: nothing is written or read there."""


def check_location(location: str, tracking_uri: str) -> None:
    """Refuse a place of this machine outside of the store that the tracking URI names, and another server.

    Raises:
        ForeignLocationError: One line with the place, without credentials.
    """
    try:
        parts = urlsplit(location)
        scheme, host = parts.scheme, parts.netloc.rpartition("@")[2]
    except ValueError:
        scheme, host = "?", ""
    if scheme in REMOTE or (scheme in OF_SERVER and host in ("", _host(tracking_uri))):
        return
    store = _store(tracking_uri)
    if scheme in LOCAL and store is not None:
        path = Path(os.path.realpath(_local_path(location)))
        if path.is_relative_to(os.path.realpath(store)):
            return
    raise ForeignLocationError(
        f"MLflow at {without_credentials(tracking_uri)} keeps files of the study at"
        f" {without_credentials(location)[:200]}, which is not in its own store: nothing is written there"
    )


def is_foreign(location: str, tracking_uri: str) -> bool:
    """Whether `check_location` refuses a place."""
    try:
        check_location(location, tracking_uri)
    except ForeignLocationError:
        return True
    return False


def _store(tracking_uri: str) -> Path | None:
    """The folder of this machine that a tracking URI names: of a file the one it lies in."""
    file = sqlite_file(tracking_uri)
    if file is not None:
        return file.absolute().parent
    scheme = urlsplit(tracking_uri).scheme
    if scheme in LOCAL:
        return Path(_local_path(tracking_uri))
    return None if scheme in OF_SERVER else Path("mlruns")  # MLflow's own choice beside another database


def _local_path(uri: str) -> str:
    """The path of a local store, as MLflow itself reads it."""
    return str(_untyped_path(uri))  # type: ignore[no-untyped-call]  # untyped in MLflow


def _host(tracking_uri: str) -> str:
    parts = urlsplit(tracking_uri)
    return parts.netloc.rpartition("@")[2] if parts.scheme in OF_SERVER else ""


def put(client: MlflowClient, location: str, path: Path, folder: str | None = None) -> None:
    """Put a file among a run's.

    Args:
        client: Connected.
        location: Of the run's files, as MLflow has it.
        path: Of the file on this machine.
        folder: Among the run's files.

    Raises:
        ForeignLocationError: The location is not in the store.
    """
    _repository(client, location).log_artifact(str(path), folder)


def put_text(client: MlflowClient, location: str, text: str, name: str) -> None:
    """Put a text among a run's files; raises as `put`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        put(client, location, path)


def fetch(client: MlflowClient, location: str, name: str, folder: str) -> Path:
    """A file of a run, in a folder of this machine; raises as `put`."""
    return Path(_repository(client, location).download_artifacts(name, folder))


def _repository(client: MlflowClient, location: str) -> Any:
    check_location(location, client.tracking_uri)
    return get_artifact_repository(location, tracking_uri=client.tracking_uri)
