"""The page of a running study, made from its ledger when the ledger has changed."""

import secrets
import threading
import time

from sqlalchemy import Engine

from lpstudy import tracking
from lpstudy.command.overview import make_overview
from lpstudy.command.page_server import Page
from lpstudy.command.publish import importances
from lpstudy.command.study_ledgers import ledger_engine, ledger_name, studies
from lpstudy.damage import DamagedError
from lpstudy.folder import Folder
from lpstudy.ledger import UnwritableError, read_lease, read_ledger, study_version
from lpstudy.rendering import live_page, waiting_page

READ_SECONDS = 2.0
"""The least seconds between two readings of the ledger."""
REST = 10
"""For how many times the processor time of a reading nothing is read: the runs need the processors."""


class LivePage:
    """The page of a study, made anew at most every few seconds, where someone asks for it.

    Args:
        storage: The folder of the studies.
        url: The database of their ledgers; None: a file for each study.
        study: The study's name; it need not have started.
    """

    def __init__(self, storage: Folder, url: str | None, study: str) -> None:
        self._storage, self._url, self._study = storage, url, study
        self._lock = threading.Lock()
        self._next_reading = 0.0
        self._version: object = None
        self._page = Page(waiting_page(study, "it is being read"), "")

    def read(self) -> None:
        """Read the ledger, and make the page anew if it has changed.

        Raises:
            ValueError: The ledger is not one, or the study's code is missing.
            DamagedError: A row is not as lpstudy writes it.
            UnwritableError: The ledger is locked or its server does not answer.
        """
        known = studies(self._storage, self._url)
        if self._study not in known:
            where = "the ledger" if self._url is not None else str(self._storage)
            self._show_reason(f"{where} has no study {self._study!r}; it has {', '.join(known) or 'none'}")
            return
        engine = ledger_engine(self._storage.resolve() / self._study, self._url)
        try:
            self._read(engine, ledger_name(self._study, self._url))
        finally:
            engine.dispose()  # another file may have taken this one's place

    def current(self) -> Page:
        """The page; any thread may ask for it."""
        with self._lock:
            if time.monotonic() >= self._next_reading:
                before = time.process_time()
                try:
                    self.read()
                except UnwritableError:
                    pass  # locked for a moment: the page stays, and the next request tries again
                except (ValueError, DamagedError) as error:  # while it runs, or its storage has gone
                    self._show_reason(str(error))
                rest = REST * (time.process_time() - before)
                self._next_reading = time.monotonic() + max(READ_SECONDS, rest)
            return self._page

    def _read(self, engine: Engine, name: str) -> None:
        lease = read_lease(engine, name)
        holder = None if lease is None or lease.token is None else lease.holder
        version = (study_version(engine, name), lease and lease.token, holder and holder.has_ended())
        if version == self._version:
            return
        reader = read_ledger(engine, name)
        state = make_overview(reader, engine, name).summary()
        if tracking.has_results(reader):
            results = tracking.ledger_results(reader)
            html = live_page(results, importances(reader.spec, results), state)
        else:
            html = waiting_page(self._study, f"the study has trained no student yet; it is {state}")
        self._show(html, version)

    def _show_reason(self, why: str) -> None:
        if self._version != why:
            self._show(waiting_page(self._study, why), why)

    def _show(self, html: str, version: object) -> None:
        self._page, self._version = Page(html, secrets.token_hex(8)), version
