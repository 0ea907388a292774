"""The Ray that a study starts is unreachable for other machines, and answers only with its token."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import descendants, environment, stop_group, wait_for
from sockets import beyond_loopback, listening

from lpstudy.ray_cluster.ray_patches import LOOPBACK_VARIABLE

SESSION = """
import json, os, sys, time
from pathlib import Path
from lpstudy.folder import LocalFolder
from lpstudy.ray_cluster.ray_watch import watching
from lpstudy.ray_cluster.session import ray_session
from lpstudy.study import StudyControl
with ray_session():
    import ray
    from ray._private.worker import _global_node as node
    ray.get(ray.remote(lambda: 3).remote())  # so that there is a worker
    print(json.dumps({"gcs": node.gcs_address, "dashboard": node.webui_url}), flush=True)
    sys.stdin.readline()
    control = StudyControl(LocalFolder(Path(sys.argv[1])), "own")
    with watching(control):
        began = time.monotonic()
        os.kill(node.all_processes["raylet"][0].process.pid, 9)
        while not control.current.is_exit and time.monotonic() - began < 30:
            time.sleep(0.1)
        print(json.dumps([control.current.why, time.monotonic() - began]), flush=True)
print("out", flush=True)
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
    """A user's home folder, in which the token is created."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def process(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that starts Ray as a study does."""
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(tmp_path_factory.mktemp("study"))],
        env=environment(HOME=str(home), RAY_ADDRESS="local"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        stop_group(process)


@pytest.fixture(scope="module")
def session(process: "subprocess.Popen[bytes]") -> tuple[int, dict[str, Any]]:
    """The process's id and the addresses of its Ray."""
    assert process.stdout is not None
    return process.pid, json.loads(process.stdout.readline())


def test_all_servers_listen_on_loopback_alone(session: tuple[int, dict[str, Any]]) -> None:
    pid, addresses = session
    sockets = listening({pid, *descendants(pid)})
    ports = {port for _, _, port in sockets}
    assert int(addresses["gcs"].rpartition(":")[2]) in ports
    assert int(addresses["dashboard"].rpartition(":")[2]) in ports
    assert len(sockets) > 5
    assert beyond_loopback(sockets) == []


def test_the_token_is_its_owners_alone(session: tuple[int, dict[str, Any]], home: Path) -> None:
    path = home / ".ray" / "auth_token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) == 64


def request(address: str, token: str | None) -> int:
    """The status of the answer."""
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
    here = {LOOPBACK_VARIABLE: "0"}  # or it would look for the head at this machine's outward address
    joined = join(session[1]["gcs"], tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64, **here)
    assert joined.returncode == 3, joined
    assert "Unauthenticated" in joined.stderr, joined


def test_a_raylet_that_is_killed_is_noticed_and_nothing_of_ray_remains(
    session: tuple[int, dict[str, Any]], process: "subprocess.Popen[bytes]"
) -> None:
    """The last test of this file: the process ends."""
    below = descendants(session[0])
    out, _ = process.communicate(b"\n", timeout=60)
    result, end = out.decode().splitlines()
    why, seconds = json.loads(result)
    assert why == "Ray's raylet on this machine has ended (signal 9)"
    assert seconds < 10
    assert end == "out"
    assert process.returncode == 0
    wait_for(lambda: below.items() & descendants(1).items() == set(), seconds=10)
