"""A server of one page on this machine, for whoever has its address."""

import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
TOKEN_BYTES = 32
IDLE_SECONDS = 20.0
"""Seconds after which a client that says nothing is disconnected."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its version, a word that differs where the page does."""

    html: str
    version: str


class PageServer(ThreadingHTTPServer):
    """Serves a page on loopback below a path that only its address names; all else is refused (403).

    Nothing is logged, since the path is a secret.

    Args:
        port: The port; 0: any free one.
        page: The page, asked for at each request, from several threads.

    Raises:
        OSError: The port is not free, or not allowed.
    """

    daemon_threads = True

    def __init__(self, port: int, page: Callable[[], Page]) -> None:
        self.page = page
        self.path = f"/{secrets.token_urlsafe(TOKEN_BYTES)}/"
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        """The page's address, with its secret."""
        return f"http://{HOST}:{self.server_port}{self.path}"

    def allows(self, host: str, path: str) -> bool:
        """Whether a request names this server and has the secret; names of other sites are refused."""
        hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        has_secret = secrets.compare_digest(path.encode("utf-8", "replace"), self.path.encode())
        return has_secret and host in hosts

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has gone; report everything else, which is a fault of the program."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = IDLE_SECONDS
    server_version, sys_version = "lpstudy", ""

    def do_GET(self) -> None:  # named by http.server
        """Answer with the page, or that it has not changed."""
        if not self.server.allows(self.headers.get("Host", ""), self.path):
            self._answer(HTTPStatus.FORBIDDEN, {})
            return
        page = self.server.page()
        headers = {
            "ETag": f'"{page.version}"',
            "Cache-Control": "no-store",
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": "frame-ancestors 'none'",
        }
        if self.headers.get("If-None-Match") == headers["ETag"]:
            self._answer(HTTPStatus.NOT_MODIFIED, headers)
        else:
            self._answer(HTTPStatus.OK, headers, page.html.encode("utf-8", "replace"))

    def _answer(self, status: HTTPStatus, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        safe = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
        for name, value in {**headers, **safe, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # named by http.server
        """Log nothing: paths hold the secret."""
