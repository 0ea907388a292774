"""The Ray that a study starts is out of other machines' reach, and answers none without its token."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import descendants, environment, stop_group
from sockets import beyond_loopback, listening

from lpstudy.study.loopback import VARIABLE

SESSION = """
import json, sys, time
from lpstudy import study
with study.session():
    import ray
    from ray._private.worker import _global_node as node
    ray.get(ray.remote(lambda: 3).remote())  # so that there is a worker
    print(json.dumps({"gcs": node.gcs_address, "dashboard": node.webui_url}), flush=True)
    sys.stdin.readline()
"""
JOIN = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False)
except BaseException as error:
    print(type(error).__name__, " ".join(str(error).split())[:2000])
    sys.exit(3)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder of its own: the token is made there."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def session(home: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A process that has started Ray as a study does, and where that answers."""
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION],
        env=environment(HOME=str(home)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.pid, json.loads(process.stdout.readline())
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait(timeout=60)
    finally:
        stop_group(process)


def test_all_servers_listen_on_loopback_alone(session: tuple[int, dict[str, Any]]) -> None:
    pid, told = session
    found = listening({pid, *descendants(pid)})
    ports = {port for _, _, port in found}
    assert int(told["gcs"].rpartition(":")[2]) in ports
    assert int(told["dashboard"].rpartition(":")[2]) in ports
    assert len(found) > 5
    assert beyond_loopback(found) == []


def test_the_token_is_its_owners_alone(session: tuple[int, dict[str, Any]], home: Path) -> None:
    path = home / ".ray" / "auth_token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) == 64


def request(address: str, token: str | None) -> int:
    """The answer's status."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", "/api/jobs/", headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_dashboard_refuses_who_has_no_token(session: tuple[int, dict[str, Any]], home: Path) -> None:
    address = session[1]["dashboard"]
    token = (home / ".ray" / "auth_token").read_text()
    assert request(address, None) == 401
    assert request(address, "0" * 64) in (401, 403)
    assert request(address, token) == 200


def join(address: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", JOIN, address],
        env=environment(HOME=str(home), **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_driver_without_the_token_is_refused(session: tuple[int, dict[str, Any]], tmp_path: Path) -> None:
    here = {VARIABLE: "0"}  # or it would look for the head at this machine's outward address
    done = join(session[1]["gcs"], tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64, **here)
    assert done.returncode == 3, done
    assert "Unauthenticated" in done.stderr, done
