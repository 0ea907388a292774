"""A TCP proxy that loses the answers to some commits, which the server has done."""

import contextlib
import socket
import threading
from types import TracebackType

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""PostgreSQL's message of a simple query, with its length."""


class Proxy:
    """A proxy for a server on loopback, while the context lasts."""

    def __init__(self, server: int) -> None:
        self._server, self._every, self._commits = server, 0, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.lost = 0

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def lose(self, *, every: int) -> None:
        """Break the connection of every n-th commit after the server has done it."""
        self._every = every

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                losing = threading.Event()
                for pair in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._forward, args=(*pair, losing, pair[0] is client), daemon=True
                    ).start()

    def _forward(
        self, source: socket.socket, target: socket.socket, losing: threading.Event, from_client: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if from_client and COMMIT in data:
                    self._commits += 1
                    if self._every and self._commits % self._every == 0:
                        losing.set()
                if not from_client and losing.is_set():
                    self.lost += 1
                    break
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
