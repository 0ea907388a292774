"""The MLflow client: connection, tags, and experiments and runs of a study."""

import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from lpstudy import environment
from lpstudy.ledger import database_url, sqlite_file, sqlite_url
from lpstudy.one_line import one_line
from lpstudy.redaction import without_credentials
from lpstudy.tracking.artifact_location import is_replaceable, new_location, write_problem

Client = MlflowClient
DEFAULT_URI = "sqlite:///mlflow.db"
PARENT = "mlflow.parentRunId"
"""The tag by which MLflow's page shows a run below another."""
PAGE = 1000
"""Runs per response."""
MAX_REASON_LENGTH = 400
"""Characters."""
_STATEMENT = re.compile(r"\[SQL: .*?(?=\(Background|\Z)|\(Background on this error at: \S+\)", re.DOTALL)
"""The text that SQLAlchemy adds to its errors: the statement with its values, and a URL."""
MLFLOW_ERRORS = (MlflowException, RequestException, SQLAlchemyError)
"""Errors of the client where a server or a database does not respond."""


def tag(name: str) -> str:
    """The full name of one of lpstudy's tags."""
    return f"lpstudy.{name}"


KEY = tag("key")
"""The tag with a run's key, unique in the study and the same after every restart."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run in MLflow."""

    run_id: str
    state: str
    """The state written last, but `running` until the run is ended in MLflow too."""
    location: str
    """The artifact URI of its files."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a database in the working directory.

    Raises:
        ValueError: The variable is not a valid database URL.
    """
    uri = environment.tracking_uri_variable()
    try:
        return DEFAULT_URI if uri is None else database_url(uri)
    except ValueError as error:
        raise ValueError(f"{environment.TRACKING}: {error}") from None


def display_uri(uri: str) -> str:
    """The tracking URI without user and password, for messages and reports."""
    return without_credentials(uri)


def _move_login_to_variables() -> None:
    """Move user and password from the tracking URI to MLflow's variables.

    MLflow writes the URI into every error, but never those variables.
    """
    uri = tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return
    try:
        parts = urlsplit(uri)
        user, password = parts.username, parts.password
    except ValueError:  # not a URL, which the client reports
        return
    if user and password:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(user)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)
        os.environ["MLFLOW_TRACKING_URI"] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class MlflowUnavailableError(ValueError):
    """No tracking server answers, or it accepts no files."""


def connect() -> MlflowClient:
    """Connect to MLflow; a client whose first request was answered.

    Raises:
        MlflowUnavailableError: No server answers at `MLFLOW_TRACKING_URI`.
        ValueError: The server refuses this user, or the database cannot be used.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # A retry by the client could create a run twice; the projection retries by itself.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(name, value)
    for name in (
        "mlflow",
        "alembic",
        "urllib3",
        "sqlalchemy.pool",
    ):  # they log tracebacks of the errors that they raise
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _move_login_to_variables()
    uri = tracking_uri()
    _check_database(uri)
    try:
        _make_database(uri)
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except (*MLFLOW_ERRORS, OSError, ImportError) as error:  # a database without its driver
        text = reason(error)
        if "MLFLOW_TRACKING_URI" not in os.environ:
            raise ValueError(f"{uri}: MLflow's database cannot be used here ({text})") from None
        if "error code 401" in text:
            raise ValueError(
                f"MLFLOW_TRACKING_URI={display_uri(uri)}: the tracking server does not know this user and"
                " password; give them as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from None
        is_unavailable = uri.startswith(("http://", "https://")) and "error code 4" not in text
        raise (MlflowUnavailableError if is_unavailable else ValueError)(
            f"MLFLOW_TRACKING_URI={display_uri(uri)}: no tracking server answers; start it, or unset the"
            f" variable to use {DEFAULT_URI} ({text})"
        ) from None
    return client


def check_files(client: MlflowClient, study: str) -> None:
    """Check that a study's run files can be written.

    Raises:
        MlflowUnavailableError: They cannot; the message says where and why.
    """
    experiment = client.get_experiment_by_name(experiment_name(study))
    if experiment is not None and is_replaceable(client, experiment, experiment.tags.get(tag("id"), "new")):
        return
    if problem := write_problem(client, experiment):
        text = reason(OSError(problem))
        raise MlflowUnavailableError(
            f"{environment.TRACKING}={display_uri(client.tracking_uri)}: it accepts no files of runs: {text}"
        )


def offline_client() -> MlflowClient:
    """A client for an unavailable server, for a projection that writes once the server answers."""
    return MlflowClient(tracking_uri=tracking_uri())


def reason(error: Exception) -> str:
    """An error's message on one line, without credentials; a long one is cut in the middle."""
    text = _STATEMENT.sub("", without_credentials(str(error)))
    text = one_line(text) or type(error).__name__
    return (
        text if len(text) <= MAX_REASON_LENGTH else f"{text[:120]} ... {text[-(MAX_REASON_LENGTH - 125) :]}"
    )


def _check_database(uri: str) -> None:
    """Refuse an SQLite file in a folder whose escaped name MLflow would also create."""
    path = sqlite_file(uri)
    if path is not None and str(path.parent) != str(Path(uri.partition(":///")[2]).parent):
        raise ValueError(
            f"{environment.TRACKING}={uri}: MLflow does not decode the % in a folder's name; use another"
            f" folder, or unset the variable and work in {path.parent}"
        )


def _make_database(uri: str) -> None:
    """Create a new SQLite file with all its tables at once: MLflow refuses an incomplete one."""
    path = sqlite_file(uri)
    if path is None or path.exists():
        return
    with TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        complete_file = (
            Path(os.path.relpath(folder)) / path.name
        )  # MLflow creates the folder's encoded name too
        MlflowClient(tracking_uri=sqlite_url(complete_file)).search_experiments(max_results=1)
        with suppress(OSError):  # another process was faster, or the file system has no links
            os.link(complete_file, path)


def experiment_name(study: str) -> str:
    """The name of a study's experiment in MLflow."""
    return f"lpstudy/{study}"


def open_experiment(client: MlflowClient, study: str, identity: str) -> Experiment:
    """Open or create the study's experiment; rename another one of that name first."""
    name = experiment_name(study)
    experiments = list(client.search_experiments(filter_string=f"tags.`{tag('id')}` = '{identity}'"))
    if experiments and is_replaceable(client, experiments[0], identity):  # MLflow never moves files
        client.set_experiment_tag(
            experiments[0].experiment_id, tag("id"), f"{identity} {experiments[0].experiment_id}"
        )
        experiments = []
    if experiments and experiments[0].name == name:
        return experiments[0]
    holder = client.get_experiment_by_name(name)
    if holder is not None:
        _rename(client, holder, f"{name} (experiment {holder.experiment_id})")
    if experiments:
        _rename(client, experiments[0], name)
        return experiments[0]
    location = new_location(client.tracking_uri, identity)
    experiment_id = client.create_experiment(name, artifact_location=location, tags={tag("id"): identity})
    return client.get_experiment(experiment_id)


def _rename(client: MlflowClient, experiment: Experiment, name: str) -> None:
    is_deleted = experiment.lifecycle_stage == "deleted"
    if is_deleted:  # MLflow renames no deleted experiment and keeps its name reserved
        client.restore_experiment(experiment.experiment_id)
    client.rename_experiment(experiment.experiment_id, name)
    if is_deleted:
        client.delete_experiment(experiment.experiment_id)


def all_runs(client: MlflowClient, experiment: Experiment) -> list[Run]:
    """All runs of an experiment, by start time."""
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
    """All of lpstudy's runs in an experiment, by key."""
    return {
        run.data.tags[KEY]: _tracked_run(run) for run in all_runs(client, experiment) if KEY in run.data.tags
    }


def _tracked_run(run: Run) -> TrackedRun:
    is_open = run.info.status == "RUNNING"
    state = "running" if is_open else run.data.tags.get(tag("state"), "running")
    return TrackedRun(run.info.run_id, state, str(run.info.artifact_uri))
