"""The MLflow client, the names of tags, and what a study's runs have in common."""

import json
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from lpstudy import environment
from lpstudy.ledger import database_url, sqlite_file, sqlite_url
from lpstudy.redaction import without_credentials
from lpstudy.tracking.artifact_location import fault_of, is_replaceable, new_location

Client = MlflowClient
DEFAULT_URI = "sqlite:///mlflow.db"
PARENT = "mlflow.parentRunId"
"""The tag by which MLflow's page shows a run below another."""
PAGE = 1000
"""Runs of one answer."""
LONGEST_REASON = 400
"""Characters."""
_STATEMENT = re.compile(r"\[SQL: .*?(?=\(Background|\Z)|\(Background on this error at: \S+\)", re.DOTALL)
"""What SQLAlchemy adds to its errors: the statement with its values, and an address."""
MLFLOW_ERRORS = (MlflowException, RequestException, SQLAlchemyError)
"""What the client throws where a server or a database does not do what it is asked."""


def tag(name: str) -> str:
    """A tag of lpstudy's own."""
    return f"lpstudy.{name}"


KEY = tag("key")
"""The tag by which a run is found again: study-wide unique and the same after every restart."""


@dataclass(frozen=True, slots=True)
class StudyMetadata:
    """What is known of a study beside its runs; it goes into `study.json` on the run named `report`."""

    spec: Mapping[str, Any]
    data: Mapping[str, Any]
    """name, classes, train, validation, test (samples), input_shape."""
    teacher: Mapping[str, Any]
    """A `TrainedTeacher` without its folder."""
    provenance: Mapping[str, str]
    """data (hash), teacher (hash), versions, commit, machine, command."""

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)

    def tags(self) -> dict[str, str]:
        """Of every run."""
        names = {"commit": "commit", "versions": "versions", "data": "data hash", "teacher": "teacher hash"}
        names |= {"views": "views", "precision": "precision"}
        return {tag(name): self.provenance[key] for name, key in names.items() if key in self.provenance}


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run that MLflow has."""

    run_id: str
    state: str
    """As it was written last, but `running` until MLflow has been told the end too."""
    location: str
    """Of its files."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a database in the working directory.

    Raises:
        ValueError: The variable names a file that no database can have.
    """
    uri = environment.tracking_uri_variable()
    try:
        return DEFAULT_URI if uri is None else database_url(uri)
    except ValueError as error:
        raise ValueError(f"{environment.TRACKING}: {error}") from None


def display_uri(uri: str) -> str:
    """The address without user and password, for messages and reports."""
    return without_credentials(uri)


def _keep_login_apart() -> None:
    """Move user and password from a server's address to MLflow's own variables.

    MLflow writes the address into every error; the variables it shows nowhere.
    """
    uri = tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return
    try:
        parts = urlsplit(uri)
        user, password = parts.username, parts.password
    except ValueError:  # no address at all, which the client will say
        return
    if user and password:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(user)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)
        os.environ["MLFLOW_TRACKING_URI"] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class MlflowUnavailableError(ValueError):
    """No tracking server answers at the address, or it takes no files."""


def connect() -> MlflowClient:
    """A client that has had an answer.

    Raises:
        MlflowUnavailableError: No server answers at `MLFLOW_TRACKING_URI`.
        ValueError: It lets this user not in, or the database cannot be used.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Sent again by the client itself, a request could make a run twice; the projection tries again.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "urllib3", "sqlalchemy.pool"):  # they log tracebacks of what they raise
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _keep_login_apart()
    uri = tracking_uri()
    _check_database(uri)
    try:
        _make_database(uri)
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except (*MLFLOW_ERRORS, OSError, ImportError) as error:  # a database without its driver
        said = reason(error)
        if "MLFLOW_TRACKING_URI" not in os.environ:
            raise ValueError(f"{uri}: MLflow's database cannot be used here ({said})") from None
        if "error code 401" in said:
            raise ValueError(
                f"MLFLOW_TRACKING_URI={display_uri(uri)}: the tracking server does not know this user and"
                " password; give them as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from None
        away = uri.startswith(("http://", "https://")) and "error code 4" not in said
        raise (MlflowUnavailableError if away else ValueError)(
            f"MLFLOW_TRACKING_URI={display_uri(uri)}: no tracking server answers; start it, or unset the"
            f" variable to use {DEFAULT_URI} ({said})"
        ) from None
    return client


def check_files(client: MlflowClient, study: str) -> None:
    """See that the files of a study's runs can be written.

    Raises:
        MlflowUnavailableError: They cannot; says where and why.
    """
    experiment = client.get_experiment_by_name(experiment_name(study))
    if experiment is not None and is_replaceable(client, experiment, experiment.tags.get(tag("id"), "new")):
        return
    if why := fault_of(client, experiment):
        said = reason(OSError(why))
        raise MlflowUnavailableError(
            f"{environment.TRACKING}={display_uri(client.tracking_uri)}: it takes no files of runs: {said}"
        )


def offline_client() -> MlflowClient:
    """A client of a server that is away, for a projection that writes when it is back."""
    return MlflowClient(tracking_uri=tracking_uri())


def reason(error: Exception) -> str:
    """What a client said, in one line without credentials, and of a long one begin and end: the cause."""
    text = _STATEMENT.sub("", without_credentials(str(error)))
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:120]} ... {text[-(LONGEST_REASON - 125) :]}"


def _check_database(uri: str) -> None:
    """Refuse an SQLite file whose folder MLflow would also make under the name that it has in the URL."""
    path = sqlite_file(uri)
    if path is not None and str(path.parent) != str(Path(uri.partition(":///")[2]).parent):
        raise ValueError(
            f"{environment.TRACKING}={uri}: MLflow takes the % in a folder's name as it is; use another"
            f" folder, or unset the variable and work in {path.parent}"
        )


def _make_database(uri: str) -> None:
    """Let a new SQLite file appear with all its tables: MLflow refuses one that a kill left half made."""
    path = sqlite_file(uri)
    if path is None or path.exists():
        return
    with TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as made:
        whole = Path(os.path.relpath(made)) / path.name  # MLflow makes the folder's encoded name too
        MlflowClient(tracking_uri=sqlite_url(whole)).search_experiments(max_results=1)
        with suppress(OSError):  # another process was faster, or links are unknown here
            os.link(whole, path)


def experiment_name(study: str) -> str:
    """The experiment of a study."""
    return f"lpstudy/{study}"


def open_experiment(client: MlflowClient, study: str, identity: str) -> Experiment:
    """The study's experiment; another that has its name, of an older study say, is renamed first."""
    name = experiment_name(study)
    own = list(client.search_experiments(filter_string=f"tags.`{tag('id')}` = '{identity}'"))
    if own and is_replaceable(client, own[0], identity):  # MLflow moves no experiment's files
        client.set_experiment_tag(own[0].experiment_id, tag("id"), f"{identity} {own[0].experiment_id}")
        own = []
    if own and own[0].name == name:
        return own[0]
    holder = client.get_experiment_by_name(name)
    if holder is not None:
        _rename(client, holder, f"{name} (experiment {holder.experiment_id})")
    if own:
        _rename(client, own[0], name)
        return own[0]
    location = new_location(client.tracking_uri, identity)
    made = client.create_experiment(name, artifact_location=location, tags={tag("id"): identity})
    return client.get_experiment(made)


def _rename(client: MlflowClient, experiment: Experiment, name: str) -> None:
    deleted = experiment.lifecycle_stage == "deleted"
    if deleted:  # MLflow renames none that is deleted, and keeps its name taken
        client.restore_experiment(experiment.experiment_id)
    client.rename_experiment(experiment.experiment_id, name)
    if deleted:
        client.delete_experiment(experiment.experiment_id)


def all_runs(client: MlflowClient, experiment: Experiment) -> list[Run]:
    """Every run of an experiment."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id],
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        runs += page
        token = page.token
        if not token:
            return runs


def find_runs(client: MlflowClient, experiment: Experiment) -> dict[str, TrackedRun]:
    """Every run of lpstudy's by its key."""
    return {run.data.tags[KEY]: _known(run) for run in all_runs(client, experiment) if KEY in run.data.tags}


def _known(run: Run) -> TrackedRun:
    open_ = run.info.status == "RUNNING"
    state = "running" if open_ else run.data.tags.get(tag("state"), "running")
    return TrackedRun(run.info.run_id, state, str(run.info.artifact_uri))
