"""Upload and download of MLflow's run files, limited to the store of the tracking URI."""

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

REMOTE_SCHEMES = ("s3", "r2", "b2", "gs", "wasbs", "abfss", "hdfs", "viewfs", "dbfs", "ftp", "sftp")
"""URL schemes of stores that a machine reaches with its own credentials."""
SERVER_SCHEMES = ("mlflow-artifacts", "http", "https")
"""URL schemes of files behind a tracking server, which must be that of the tracking URI."""
LOCAL_SCHEMES = ("", "file")
"""URL schemes of folders on this machine."""


class ForeignLocationError(UnusableError):
    """A run's location is outside of the tracking server's store; nothing is written or read there."""


def check_location(location: str, tracking_uri: str) -> None:
    """Refuse a location on this machine outside of the tracking URI's store, or on another server.

    Raises:
        ForeignLocationError: One line with the location, without credentials.
    """
    try:
        parts = urlsplit(location)
        scheme, host = parts.scheme, parts.netloc.rpartition("@")[2]
    except ValueError:
        scheme, host = "?", ""
    if scheme in REMOTE_SCHEMES or (scheme in SERVER_SCHEMES and host in ("", _host(tracking_uri))):
        return
    store = _store(tracking_uri)
    if scheme in LOCAL_SCHEMES and store is not None:
        path = Path(os.path.realpath(_local_path(location)))
        if path.is_relative_to(os.path.realpath(store)):
            return
    raise ForeignLocationError(
        f"MLflow at {without_credentials(tracking_uri)} keeps files of the study at"
        f" {without_credentials(location)[:200]}, which is not in its own store: nothing is written there"
    )


def is_foreign(location: str, tracking_uri: str) -> bool:
    """Whether `check_location` refuses a location."""
    try:
        check_location(location, tracking_uri)
    except ForeignLocationError:
        return True
    return False


def _store(tracking_uri: str) -> Path | None:
    """The tracking URI's folder on this machine; for a database file its parent."""
    file = sqlite_file(tracking_uri)
    if file is not None:
        return file.absolute().parent
    scheme = urlsplit(tracking_uri).scheme
    if scheme in LOCAL_SCHEMES:
        return Path(_local_path(tracking_uri))
    return None if scheme in SERVER_SCHEMES else Path("mlruns")  # MLflow's default for another database


def _local_path(uri: str) -> str:
    """A local store's path, decoded as MLflow does."""
    return str(_untyped_path(uri))  # type: ignore[no-untyped-call]  # untyped in MLflow


def _host(tracking_uri: str) -> str:
    parts = urlsplit(tracking_uri)
    return parts.netloc.rpartition("@")[2] if parts.scheme in SERVER_SCHEMES else ""


def upload_file(client: MlflowClient, location: str, path: Path, folder: str | None = None) -> None:
    """Upload a file to a run.

    Args:
        client: A connected client.
        location: The run's artifact URI in MLflow.
        path: The file on this machine.
        folder: The destination folder within the run's files.

    Raises:
        ForeignLocationError: The location is not in the store.
    """
    _repository(client, location).log_artifact(str(path), folder)


def upload_text(client: MlflowClient, location: str, text: str, name: str) -> None:
    """Upload a text to a run as a file; raises as `upload_file`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        upload_file(client, location, path)


def download(client: MlflowClient, location: str, name: str, folder: str) -> Path:
    """Download a run's file to a folder of this machine; raises as `upload_file`."""
    return Path(_repository(client, location).download_artifacts(name, folder))


def _repository(client: MlflowClient, location: str) -> Any:
    check_location(location, client.tracking_uri)
    return get_artifact_repository(location, tracking_uri=client.tracking_uri)
