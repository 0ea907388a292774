"""A real server that speaks S3, on loopback."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from commands import ROOT, free_port, stop_group, wait_for

BUCKET = "bucket"
PATHS = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
"""The PYTHONPATH with which another process imports what this one can import."""


@contextlib.contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Run a store with one bucket; yields its clients' environment variables. Skips without its packages."""
    for package in ("s3fs", "moto", "flask_cors"):
        pytest.importorskip(package, reason=f"{package} is not installed: no S3 to be tried")
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | {"PYTHONPATH": PATHS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: server.poll() is not None or _has_bucket(port), seconds=60)
        assert server.poll() is None
        yield {
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "PYTHONPATH": PATHS,
        }
    finally:
        stop_group(server)


def _has_bucket(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("PUT", f"/{BUCKET}", headers={"Authorization": _SIGNED})
        return connection.getresponse().status == 200
    except OSError:
        return False


_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
