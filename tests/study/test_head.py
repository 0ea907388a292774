"""A server that does not answer like a head is refused within seconds."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from commands import ROOT, free_port
from ray.core.generated import gcs_service_pb2

from lpstudy.ray_cluster import head
from lpstudy.ray_cluster.head import check_head, silent_servers


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "ANSWER_SECONDS", 0.5)


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def web() -> Iterator[str]:
    """A web server, such as a dashboard."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextlib.contextmanager
def answering(answer: Any) -> Iterator[str]:
    """A gRPC server that answers every call with these bytes or this error status."""

    def handle(request: bytes, context: Any) -> bytes:
        if isinstance(answer, bytes):
            return answer
        context.abort(answer, "said the server")
        raise AssertionError

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(handle)

    server = grpc.server(ThreadPoolExecutor(max_workers=2), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def reply(version: str) -> bytes:
    messages: Any = gcs_service_pb2
    return bytes(messages.CheckAliveReply(ray_version=version).SerializeToString())


def test_a_port_on_which_nobody_listens_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot join the Ray cluster: start it, or unset the variable"):
        check_head(f"127.0.0.1:{free_port()}")


def test_a_host_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot join the Ray cluster: start it"):
        check_head("no-such-host.invalid:6379")


def test_a_server_that_says_nothing_is_refused(mute: str) -> None:
    start_time = time.monotonic()
    with pytest.raises(ValueError, match="what listens there is not a cluster's head, or hangs"):
        check_head(mute)
    assert time.monotonic() - start_time < 10


def test_a_web_server_is_refused(web: str) -> None:
    with pytest.raises(ValueError, match="what listens there is not a cluster's head, or hangs"):
        check_head(web)


def test_another_grpc_server_is_refused() -> None:
    with (
        answering(grpc.StatusCode.UNIMPLEMENTED) as address,
        pytest.raises(ValueError, match=r"not a cluster's head, or hangs \(UNIMPLEMENTED\)"),
    ):
        check_head(address)


def test_a_head_that_wants_a_token_is_named_so() -> None:
    with (
        answering(grpc.StatusCode.UNAUTHENTICATED) as address,
        pytest.raises(ValueError, match=r"it needs the token in the head's ~/.ray/auth_token"),
    ):
        check_head(address)


def test_a_head_of_another_version_is_named_with_both() -> None:
    import ray

    with (
        answering(reply("1.2.3")) as address,
        pytest.raises(
            ValueError, match=f"the Ray cluster runs Ray 1.2.3, but this machine {ray.__version__}"
        ),
    ):
        check_head(address)
    with answering(reply(ray.__version__)) as address:
        check_head(address)


def test_servers_that_are_silent_are_distinguished_from_those_that_answer(mute: str) -> None:
    with answering(b"") as healthy, answering(grpc.StatusCode.UNAUTHENTICATED) as refusing_server:
        address = f"127.0.0.1:{free_port()}"
        assert silent_servers([healthy, mute, refusing_server, address]) == [mute, address]


LIMIT = """
import signal, sys, time
from lpstudy.ray_cluster.time_limit import time_limit
from lpstudy.ray_cluster.ray_patches import defer_signals
def abandon(error):
    print(repr(error), flush=True)
    return 75
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
with time_limit(float(sys.argv[1]), "the head is dead", abandon), defer_signals():
    print("in", flush=True)
    until = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < until:
        time.sleep(0.1)
print("out", flush=True)
"""


def limited(limit: float, body: float) -> "subprocess.Popen[str]":
    """A process with a time limit whose main thread receives no signal for some seconds."""
    words = [sys.executable, "-c", LIMIT, str(limit), str(body)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path("/"))


def test_a_process_that_hangs_ends_at_its_limit_or_soon_after_a_signal() -> None:
    late, signalled, well = limited(1, 60), limited(60, 60), limited(60, 0.5)
    assert signalled.stdout is not None
    assert signalled.stdout.readline() == "in\n"
    signalled.send_signal(signal.SIGTERM)
    assert late.communicate(timeout=50)[0] == "in\nValueError('the head is dead')\n"
    assert late.returncode == 75
    assert signalled.communicate(timeout=50)[0] == f"{SystemExit(signal.SIGTERM)!r}\n"
    assert signalled.returncode == 75
    assert well.communicate(timeout=50)[0] == "in\nout\n"
    assert well.returncode == 0
