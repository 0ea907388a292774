"""Leases taken and kept alive, for the tests on SQLite and on PostgreSQL."""

import threading

from lpstudy.ledger import Lease, Storage, open_storage

NAME = "digits"
"""Of the study whose lease it is."""


def take(url: str) -> tuple[Storage, Lease]:
    """The study at a database, held by this process."""
    made = open_storage(url)
    lease = Lease(made.engine, NAME)
    lease.acquire()
    return made, lease


def beating(lease: Lease, over: threading.Event) -> threading.Thread:
    """Signs of life until it is over."""

    def live() -> None:
        while not over.wait(0.05):
            lease.heartbeat({})

    thread = threading.Thread(target=live)
    thread.start()
    return thread
