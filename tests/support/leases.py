"""Leases with heartbeats, for the tests on SQLite and on PostgreSQL."""

import threading

from lpstudy.ledger import Lease, Storage, open_storage

NAME = "digits"
"""The name of the study."""


def acquire(url: str) -> tuple[Storage, Lease]:
    """Open the storage at a URL and acquire the study's lease."""
    storage = open_storage(url)
    lease = Lease(storage.engine, NAME)
    lease.acquire()
    return storage, lease


def send_heartbeats(lease: Lease, stop: threading.Event) -> threading.Thread:
    """Start a thread that sends heartbeats until the event is set."""

    def send() -> None:
        while not stop.wait(0.05):
            lease.heartbeat({})

    thread = threading.Thread(target=send)
    thread.start()
    return thread
