"""Ray's servers asked by gRPC with a limit of seconds: Ray's own client would try for minutes."""

import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import grpc  # type: ignore[import-untyped]  # Ray's own dependency
import ray
from ray._private.gcs_utils import create_gcs_channel
from ray.core.generated import gcs_service_pb2
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

CONNECT_SECONDS = 8.0
"""For a head's machine to accept a connection."""
ANSWER_SECONDS = 5.0
"""For a server to answer a question."""
TRIES = 2
"""Questions to a head that is silent."""
HEALTH = "/grpc.health.v1.Health/Check"
"""The method of gRPC's health checking protocol, which Ray's servers answer."""
TOKEN = (
    "the Ray cluster does not let this machine in: it needs the token in the head's ~/.ray/auth_token"
    " (`ray get-auth-token` prints it there), RAY_AUTH_MODE=token, and the same versions of Ray and Python"
)


def check_head(address: str) -> None:
    """Refuse an address at which no head of a Ray cluster answers that lets this machine in.

    Raises:
        ValueError: Says why, within CONNECT_SECONDS + TRIES * ANSWER_SECONDS; a name server may add to that.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(
            "cannot join the Ray cluster: start it, or unset the variable to run on this machine alone"
            f" ({error})"
        ) from None
    try:
        version = _version(address)
    except grpc.RpcError as error:
        code = error.code()
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            raise ValueError(TOKEN) from None
        raise ValueError(
            f"cannot join the Ray cluster: what listens there is no head of one, or hangs ({code.name}):"
            " give the head's HOST:PORT (port 6379 by default), or unset the variable"
        ) from None
    if version != ray.__version__:
        raise ValueError(f"the Ray cluster has Ray {version}, and this machine {ray.__version__}")


def _version(address: str) -> str:
    """Of the Ray that answers.

    Raises:
        grpc.RpcError: Nothing does.
    """
    messages: Any = gcs_service_pb2  # its classes are made when it is imported
    with closing(create_gcs_channel(address)) as channel:
        stub: Any = NodeInfoGcsServiceStub(channel)  # type: ignore[no-untyped-call]  # untyped in Ray
        for attempt in range(TRIES):
            try:
                return str(stub.CheckAlive(messages.CheckAliveRequest(), timeout=ANSWER_SECONDS).ray_version)
            except grpc.RpcError as error:
                silent = error.code() in (
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.UNAVAILABLE_ERRORS,
                )
                if not silent or attempt == TRIES - 1:
                    raise
    raise AssertionError


def silent(addresses: Sequence[str]) -> list[str]:
    """Those of some of Ray's servers that do not answer within ANSWER_SECONDS, asked at the same time."""
    channels = [create_gcs_channel(address) for address in addresses]
    try:
        calls = [
            channel.unary_unary(HEALTH, request_serializer=bytes, response_deserializer=bytes).future(
                b"", timeout=ANSWER_SECONDS
            )
            for channel in channels
        ]
        return [address for address, call in zip(addresses, calls, strict=True) if not _answered(call)]
    finally:
        for channel in channels:
            channel.close()


def _answered(call: Any) -> bool:
    """Whether there is a server behind it, whatever it says."""
    error = call.exception()
    return error is None or error.code() not in (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE_ERRORS,
    )
