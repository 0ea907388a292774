"""Health checks of Ray's servers by gRPC with short time limits; Ray's own client retries for minutes."""

import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import grpc  # type: ignore[import-untyped]  # Ray's own dependency
import ray

from lpstudy.ray_cluster.ray_patches import check_alive, open_channel

CONNECT_SECONDS = 8.0
"""Time limit for the head's machine to accept a connection."""
ANSWER_SECONDS = 5.0
"""Time limit for a server to answer a request."""
TRIES = 2
"""Number of requests to a head that does not answer."""
HEALTH = "/grpc.health.v1.Health/Check"
"""The method of gRPC's health checking protocol, which Ray's servers answer."""
TOKEN = (
    "the Ray cluster refuses this machine: it needs the token in the head's ~/.ray/auth_token"
    " (`ray get-auth-token` prints it there), RAY_AUTH_MODE=token, and the same versions of Ray and Python"
)


def check_head(address: str) -> None:
    """Check that the head of a Ray cluster answers at an address and accepts this machine.

    Raises:
        ValueError: It does not; raised within CONNECT_SECONDS + TRIES * ANSWER_SECONDS, plus name resolution.
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
            "cannot join the Ray cluster: what listens there is not a cluster's head, or hangs"
            f" ({code.name}): give the head's HOST:PORT (port 6379 by default), or unset the variable"
        ) from None
    if version != ray.__version__:
        raise ValueError(f"the Ray cluster runs Ray {version}, but this machine {ray.__version__}")


def _version(address: str) -> str:
    """The version of the Ray that answers.

    Raises:
        grpc.RpcError: Nothing answers.
    """
    with closing(open_channel(address)) as channel:
        for attempt in range(TRIES):
            try:
                return check_alive(channel, timeout=ANSWER_SECONDS)
            except grpc.RpcError as error:
                no_answer = error.code() in (
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.UNAVAILABLE,
                )
                if not no_answer or attempt == TRIES - 1:
                    raise
    raise AssertionError


def silent_servers(addresses: Sequence[str]) -> list[str]:
    """The addresses whose servers do not answer within ANSWER_SECONDS; all are asked at once."""
    channels = [open_channel(address) for address in addresses]
    try:
        calls = [
            channel.unary_unary(HEALTH, request_serializer=bytes, response_deserializer=bytes).future(
                b"", timeout=ANSWER_SECONDS
            )
            for channel in channels
        ]
        return [address for address, call in zip(addresses, calls, strict=True) if not _has_answered(call)]
    finally:
        for channel in channels:
            channel.close()


def _has_answered(call: Any) -> bool:
    """Whether a server has answered the call, even with an error."""
    error = call.exception()
    return error is None or error.code() not in (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
    )
