"""One sweep with its ledger and MLflow on one PostgreSQL server, with passwords, end to end."""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from commands import (
    CommandResult,
    call,
    error_line,
    files,
    free_port,
    mlflow_server,
    run_keys,
    runs,
    start,
    wait_for_exit,
    write_study,
)
from mlflow.tracking import MlflowClient
from postgres_server import PASSWORD, Postgres

from lpstudy import export, reconcile, status, sweep
from lpstudy.ledger import open_storage, read_lease, read_ledger

ADMIN, OWNER = "adm1n-s3cret-word", "tr4cking-s3cret-word"
KEYS = ["bp-convnet-d2-w2/final-0-seed-1", "bp-convnet-d2-w2/trial-0"]


@dataclass(frozen=True)
class Swept:
    """A working directory, its databases and the result of the sweep."""

    folder: Path
    ledger: str
    tracking: str
    store: str
    result: CommandResult


@pytest.fixture(scope="module")
def swept(server: Postgres, empty_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    """The study, started by a user who is no administrator of MLflow."""
    folder, port = tmp_path_factory.mktemp("sweep"), free_port()
    store, ledger = server.database(), server.database(empty_database)
    service = folder.with_name("service")
    service.mkdir()
    config = service / "basic_auth.ini"
    words = {
        "default_permission": "READ",
        "database_uri": sqlalchemy_url(server.database()),
        "admin_username": "admin",
    }
    words |= {"authorization_function": "mlflow.server.auth:authenticate_request_basic_auth"}
    words |= {"admin_password": ADMIN, "auth_cache_ttl_seconds": "60"}
    config.write_text("[mlflow]\n" + "".join(f"{key} = {value}\n" for key, value in words.items()))
    variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
    }
    store_words = ["--backend-store-uri", sqlalchemy_url(store), "--app-name", "basic-auth"]
    with mlflow_server(service, port, *store_words, **variables), pytest.MonkeyPatch.context() as patch:
        make_user(f"http://127.0.0.1:{port}")
        tracking = f"http://owner:{OWNER}@127.0.0.1:{port}"
        patch.setenv("MLFLOW_TRACKING_URI", tracking)
        write_study(folder)
        result = wait_for_exit(
            start(
                folder, "sweep", "tiny.toml", "--in-process", "--ledger", ledger, MLFLOW_TRACKING_URI=tracking
            )
        )
        yield Swept(folder, ledger, tracking, store, result)


def sqlalchemy_url(url: str) -> str:
    """The URL with the driver that MLflow needs."""
    return url.replace("postgresql://", "postgresql+psycopg://")


def make_user(address: str) -> None:
    """Create a user of MLflow as its administrator."""
    from mlflow.server.auth.client import AuthServiceClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN)
        AuthServiceClient(address).create_user("owner", OWNER)


def command(swept: Swept, name: str, *words: str) -> CommandResult:
    """Run another command of the same user in the same folder."""
    mains = {"list": partial(status.main, command="list"), "status": status.main, "sweep": sweep.main}
    mains |= {"export": export.main, "reconcile": reconcile.main}
    return call(mains[name], swept.folder, *words, "--ledger", swept.ledger)


def test_it_ends_well_with_its_report(swept: Swept) -> None:
    assert swept.result.code == 0, swept.result.err
    assert (swept.folder / "reports/tiny/report.md").is_file()
    assert "2 finished" in swept.result.out
    assert "Traceback" not in swept.result.err


def test_the_database_has_the_study_and_no_file_has(swept: Swept) -> None:
    ledger_records = read_ledger(swept.ledger, "tiny").records()
    assert sorted(record.assignment.key for record in ledger_records) == KEYS
    assert {record.state for record in ledger_records} == {"finished"}
    assert [name for name in files(swept.folder) if name.endswith(".db")] == []
    row = read_lease(open_storage(swept.ledger).engine, "tiny")
    assert row is not None
    assert (row.token, row.gauges["state"]) == (None, "finished")


def test_mlflow_has_every_run_once(swept: Swept) -> None:
    mlflow_runs = runs(MlflowClient(tracking_uri=swept.tracking), "tiny")
    assert run_keys(mlflow_runs) == sorted([*KEYS, "arm/bp-convnet-d2-w2", "report", "teacher"])
    assert {run.info.status for run in mlflow_runs} == {"FINISHED"}


def test_the_other_commands_read_the_database(swept: Swept) -> None:
    for name in ("list", "status"):
        result = command(swept, name)
        assert result.code == 0, result.err
        assert result.out.startswith("tiny: finished"), result.out
    status = command(swept, "status", "tiny", "--json")
    assert json.loads(status.out)["done"] == 2
    check = command(swept, "reconcile", "tiny", "--check")
    assert (check.code, check.out) == (0, "2 runs in the ledger, 0 differ in MLflow\n"), check.err
    exported = command(swept, "export", "tiny")
    assert exported.code == 0, exported.err
    assert [name for name in files(swept.folder / "exports/tiny") if name.startswith("runs")]


def test_no_password_is_kept_or_shown_anywhere(swept: Swept, server: Postgres) -> None:
    texts = [swept.result.out, swept.result.err]
    texts += [path.read_bytes().decode("latin-1") for path in swept.folder.rglob("*") if path.is_file()]
    texts += [text for url in (swept.ledger, swept.store) for text in rows(server, url)]
    client = MlflowClient(tracking_uri=swept.tracking)
    for run in runs(client, "tiny"):
        texts += [
            Path(client.download_artifacts(run.info.run_id, item.path)).read_bytes().decode("latin-1")
            for item in client.list_artifacts(run.info.run_id)
            if not item.is_dir
        ]
    command_line = "lpstudy.sweep tiny.toml --in-process --ledger postgresql://127.0.0.1"
    assert any(command_line in text for text in texts)
    for secret in (PASSWORD, OWNER, ADMIN):
        assert [text[:200] for text in texts if secret in text] == []


def test_a_wrong_password_of_mlflow_is_refused_in_one_line(swept: Swept) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", swept.tracking.replace(OWNER, "wr0ng-s3cret-word"))
        result = command(swept, "sweep", "tiny.toml")
    assert result.code == 2
    line = error_line(result)
    assert os.environ["MLFLOW_TRACKING_URI"].rpartition("@")[2] in line
    assert "wr0ng" not in line
    assert "does not know this user and password" in line


def test_a_wrong_password_of_the_ledger_is_refused_in_one_line(swept: Swept) -> None:
    result = call(
        sweep.main, swept.folder, "tiny.toml", "--ledger", swept.ledger.replace(PASSWORD, "wr0ng-s3cret")
    )
    assert result.code == 2
    line = error_line(result)
    assert "password authentication failed" in line
    assert "wr0ng" not in line


@pytest.mark.soak
def test_a_fresh_study_keeps_the_old_one_in_the_database(swept: Swept) -> None:
    before = read_ledger(swept.ledger, "tiny").records()
    result = command(swept, "sweep", "tiny.toml", "--fresh", "--in-process")
    assert result.code == 0, result.err
    assert read_ledger(swept.ledger, "tiny.old1").records() == before
    after = read_ledger(swept.ledger, "tiny").records()
    assert sorted(record.assignment.key for record in after) == KEYS
    assert {r.started for r in after}.isdisjoint({r.started for r in before})
    assert (swept.folder / "studies/tiny.old1").is_dir()
    heads = [line.partition(";")[0] for line in command(swept, "list").out.splitlines() if ": " in line]
    assert heads == ["tiny: finished", "tiny.old1: finished"]
    assert "2 runs in the ledger, 0 differ" in command(swept, "reconcile", "tiny", "--check").out


def rows(server: Postgres, url: str) -> list[str]:
    """Every row of every table of a database, as text."""
    with server.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        tables_rows = [
            connection.execute(f'SELECT t::text FROM "{name}" AS t').fetchall() for (name,) in tables
        ]
    return [str(text) for table in tables_rows for (text,) in table]
