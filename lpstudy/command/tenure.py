"""A study held by this process: its lease, signs of life, wishes from other shells, signals."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType
from typing import Any

from lpstudy.command.exits import TERMINATED
from lpstudy.command.overview import ledger_url
from lpstudy.folder import Folder, Local
from lpstudy.ledger import (
    BEAT,
    FencedError,
    Lease,
    UnwritableError,
    names,
    opened,
    rename,
)
from lpstudy.signals import once
from lpstudy.study import Control

GRACE = 30.0
"""Seconds that trials have, after a signal, to come to a checkpoint."""
HARD = 5.0
"""Seconds after them in which Ray may stop what is left."""
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: TERMINATED}


class Tenure:
    """From the lease on to its release.

    Args:
        folder: Of the study; made where it is new.
        url: Of the ledger; None: a file in the folder.
        name: Of the study.
        fresh: Begin anew; the old study is kept under another name.

    Raises:
        HeldError: Another process runs the study.
        UnwritableError: The ledger is locked.
        ValueError: The ledger cannot be opened.
    """

    def __init__(self, folder: Folder, url: str | None, name: str, *, fresh: bool) -> None:
        _make(folder)
        self.storage = opened(ledger_url(folder, url))
        self._lease = Lease(self.storage.engine, name)
        row = self._lease.take()
        if fresh and name in names(self.storage):
            old = _free(folder, name, names(self.storage))
            if url is None:
                self._lease.release({"state": "put aside"})
                self.storage.engine.dispose()
                folder.move(old)
                _make(folder)
                self.storage = opened(ledger_url(folder, url))
                self._lease = Lease(self.storage.engine, name)
                row = self._lease.take()
            else:
                rename(self.storage, name, old)
                if folder.exists():
                    folder.move(old)
                    _make(folder)
        self.after = self._lease.after
        """Whose study was taken over: a process that gave no sign of life any more."""
        self.control = Control(folder, self._lease.token)
        self.told: dict[str, Callable[[], Any]] = {"free": folder.free}
        """What other shells are told with each sign of life."""
        self.state: dict[str, Any] = {"state": "starting"}
        self.holds = self._lease.held
        """Asks the ledger whether the study is still this process's."""
        self.ending = False
        """Whether all that is left is to write what there is."""
        self._wished = row.wished
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lease", daemon=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Give signs of life and hear wishes for as long as the context lasts; then release the study."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(timeout=2 * BEAT)
            if self.state["state"] == "finished":
                self.control.forget()  # else what is left of its trials must still hear
            with suppress(UnwritableError):  # then the lease ends with this process
                self._lease.release(self.state)

    @contextmanager
    def heeding(self, grace: float) -> Iterator[None]:
        """Within it SIGTERM and SIGINT pause the study; a later one ends it without waiting.

        To be entered after Ray was started, which has a handler of its own.
        """

        def heed(number: int, frame: FrameType | None) -> None:
            if self.control.asked.leaving:
                raise KeyboardInterrupt
            self.control.leave(SIGNALS[signal.Signals(number)], seconds=grace, signal=number)

        before = {number: signal.signal(number, once(heed)) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            if self.control.asked.leaving and self.control.late(HARD) and not self.ending:
                self.ending = True
                os.kill(os.getpid(), signal.SIGINT)  # Ray hangs
            try:
                row = self._lease.beat(self._words())
            except FencedError as error:
                self.control.fail(error, seconds=0.0)
                return
            except UnwritableError:  # the thread that writes results has the same trouble, and tells it
                continue
            if row.wished > self._wished:
                self._wished = row.wished
                self.control.ask(row.wish, f"lpstudy {row.wish}")

    def _words(self) -> Mapping[str, Any]:
        asked = self.control.asked
        wish = {"wish": asked.wish, "why": asked.why} if asked.wish != "run" else {}
        told: dict[str, Any] = {}
        for name, tell in self.told.items():
            with suppress(OSError):  # a folder that is away; signs of life go on
                told[name] = tell()
        return self.state | wish | told | {"heard": self._wished}


def _make(folder: Folder) -> None:
    """An object store has none to make."""
    if isinstance(folder, Local):
        folder.path.mkdir(parents=True, exist_ok=True)


def _free(folder: Folder, name: str, taken: list[str]) -> str:
    """A name for an old study that neither a folder nor a ledger has."""
    made = (f"{name}.old{n}" for n in count(1))
    return next(name for name in made if not folder.beside(name).exists() and name not in taken)
