"""The MLflow server's file follows the compose specification, and opens no port to others."""

import configparser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_files import Change, changed, document, is_pinned, pinned
from jsonschema import Draft7Validator
from mlflow.cli import server

SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
"""The schema of the compose specification; see SOURCES.md."""
FILE = document("mlflow-compose.yaml")


def faults(file: Any) -> list[str]:
    """The faults of a file by the compose specification."""
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(SCHEMA).iter_errors(file)]


def settings(file: Any) -> dict[str, str]:
    """The options of `mlflow server`."""
    return dict(word.split("=", 1) for word in file["services"]["mlflow"]["command"][2:])


def open_ports(file: Any) -> Iterator[str]:
    """The settings that let others in."""
    for name, service in file["services"].items():
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: {port} is open to others"
    if "ports" in file["services"]["postgres"]:
        yield "the database can be reached"
    if file["services"]["postgres"].get("networks") != ["inside"] or not file["networks"]["inside"].get(
        "internal"
    ):
        yield "the database can be reached"
    values = settings(file)
    if values.get("--app-name") != "basic-auth":
        yield "no password is asked for"
    ports = [
        port.removeprefix("127.0.0.1:").partition(":")[0] for port in file["services"]["mlflow"]["ports"]
    ]
    hosts = {f"{host}:{port}" for host in ("127.0.0.1", "localhost") for port in ports}
    if set(values.get("--allowed-hosts", "*").split(",")) != hosts:
        yield "other host names are allowed"
    variables = file["services"]["mlflow"]["environment"]
    if variables.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION") != "false":
        yield "the server runs jobs"
    if variables.get("MLFLOW_DISABLE_TELEMETRY") != "true":
        yield "the server reports to its makers"


def secret(file: Any) -> Iterator[str]:
    """Secrets that are written down or may be missing."""
    for name, service in file["services"].items():
        for key, value in service["environment"].items():
            if re.search("PASSWORD|SECRET", key) and not re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value):
                yield f"{name}: {key} is not asked of the environment"
        if any("PASSWORD" in word for word in service.get("command", [])):
            yield f"{name}: a password is shown by ps"


def lasting(file: Any) -> Iterator[str]:
    """Data that would be lost, and versions that are not pinned."""
    for name, service in file["services"].items():
        if not is_pinned(service["image"]):
            yield f"{name}: {service['image']} moves"
        if not service.get("healthcheck", {}).get("test"):
            yield f"{name}: nobody asks whether it works"
        if service.get("restart") != "unless-stopped":
            yield f"{name}: does not come back"
        named = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        if not named or named - set(file["volumes"]):
            yield f"{name}: keeps nothing in a named volume"
    if f":v{pinned('mlflow')}-full" not in file["services"]["mlflow"]["image"]:
        yield "not the pinned MLflow"
    waits = file["services"]["mlflow"].get("depends_on", {})
    if waits.get("postgres", {}).get("condition") != "service_healthy":
        yield "MLflow does not wait for its database"


def complaints(file: Any) -> list[str]:
    """The problems of a file by all rules."""
    return [complaint for rule in (open_ports, secret, lasting) for complaint in rule(file)]


def test_follows_the_compose_specification() -> None:
    assert faults(FILE) == []


def test_keeps_every_rule() -> None:
    assert complaints(FILE) == []


def test_the_server_knows_its_options() -> None:
    assert FILE["services"]["mlflow"]["command"][:2] == ["mlflow", "server"]
    assert set(settings(FILE)) <= {option for parameter in server.params for option in parameter.opts}


def test_users_are_kept_in_a_database_of_their_own_that_is_made_at_the_first_start() -> None:
    config = configparser.ConfigParser()
    config.read_string(FILE["configs"]["basic_auth"]["content"])
    database = config["mlflow"]["database_uri"].rpartition("/")[2]
    assert FILE["configs"]["databases"]["content"].split() == ["CREATE", "DATABASE", f"{database};"]
    assert settings(FILE)["--backend-store-uri"].rpartition("/")[2] != database
    assert "admin_password" not in config["mlflow"]
    targets = {c["source"]: c["target"] for s in FILE["services"].values() for c in s["configs"]}
    assert targets["basic_auth"] == FILE["services"]["mlflow"]["environment"]["MLFLOW_AUTH_CONFIG_PATH"]
    assert targets["databases"].startswith("/docker-entrypoint-initdb.d/")


def _mlflow(file: Any) -> Any:
    return file["services"]["mlflow"]


def _told(file: Any, old: str, new: str) -> None:
    _mlflow(file)["command"] = [re.sub(old, new, word) for word in _mlflow(file)["command"]]


def _given(file: Any, **variables: str) -> None:
    _mlflow(file)["environment"].update(variables)


@pytest.mark.parametrize(
    ("fault", "mistake"),
    [
        ("healtcheck", lambda f: _mlflow(f).update(healtcheck={})),
        ("service", lambda f: f.update(service={})),
        ("restart", lambda f: _mlflow(f).update(restart=["always"])),
        ("service_fine", lambda f: _mlflow(f).update(depends_on={"postgres": {"condition": "service_fine"}})),
        ("contents", lambda f: f["configs"]["databases"].update(contents="")),
    ],
)
def test_what_the_specification_does_not_know_is_found(fault: str, mistake: Change) -> None:
    assert any(fault in problem for problem in faults(changed(FILE, mistake)))


@pytest.mark.parametrize(
    ("complaint", "mistake"),
    [
        ("5000:5000 is open to others", lambda f: _mlflow(f).update(ports=["5000:5000"])),
        ("0.0.0.0:5000:5000 is open", lambda f: _mlflow(f).update(ports=["0.0.0.0:5000:5000"])),
        (
            "database can be reached",
            lambda f: f["services"]["postgres"].update(ports=["127.0.0.1:5432:5432"]),
        ),
        ("database can be reached", lambda f: f["networks"].update(inside={})),
        ("no password", lambda f: _told(f, "basic-auth", "none")),
        ("other host names", lambda f: _told(f, "--allowed-hosts=.*", "--allowed-hosts=*")),
        ("other host names", lambda f: _mlflow(f).update(ports=["127.0.0.1:5001:5000"])),
        ("runs jobs", lambda f: _given(f, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="true")),
        ("reports to its makers", lambda f: _mlflow(f)["environment"].pop("MLFLOW_DISABLE_TELEMETRY")),
        ("PASSWORD is not asked", lambda f: _given(f, PGPASSWORD="hunter2")),
        ("PASSWORD is not asked", lambda f: _given(f, PGPASSWORD="${POSTGRES_PASSWORD:-hunter2}")),
        ("SECRET_KEY is not asked", lambda f: _given(f, MLFLOW_FLASK_SERVER_SECRET_KEY="${SECRET}")),
        ("shown by ps", lambda f: _told(f, "mlflow@postgres", "mlflow:${POSTGRES_PASSWORD}@postgres")),
        ("latest moves", lambda f: f["services"]["postgres"].update(image="postgres:latest")),
        ("postgres:17 moves", lambda f: f["services"]["postgres"].update(image="postgres:17")),
        ("not the pinned", lambda f: _mlflow(f).update(image="ghcr.io/mlflow/mlflow:v3.9.0-full")),
        ("whether it works", lambda f: _mlflow(f).pop("healthcheck")),
        ("does not come back", lambda f: f["services"]["postgres"].pop("restart")),
        (
            "named volume",
            lambda f: f["services"]["postgres"].update(volumes=["./data:/var/lib/postgresql/data"]),
        ),
        (
            "does not wait",
            lambda f: _mlflow(f).pop("depends_on"),
        ),
    ],
)
def test_a_broken_rule_is_found(complaint: str, mistake: Change) -> None:
    assert any(complaint in problem for problem in complaints(changed(FILE, mistake)))
