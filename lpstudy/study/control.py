"""What a running study has been asked to do, and the file by which its trials hear of it."""

import errno
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ray.tune import Stopper

from lpstudy.disk import UnreachableError
from lpstudy.folder import Folder, LocalFolder, folder_at
from lpstudy.ledger import Request
from lpstudy.threads import describe
from lpstudy.training import Directive

FILE = "control.json"
POLL_SECONDS = 0.5
"""Seconds between two looks of a trial at the file."""
REMOTE_POLL_SECONDS = 2.0
"""The same where each look is a request to an object store."""
FAULT_SECONDS = 10.0
"""That trials have to come to a checkpoint when the study cannot go on."""
IMMEDIATE_REQUESTS: tuple[Request, ...] = ("pause", "cancel")
"""Wishes for which a trial does not run to its end."""


class PausedError(Exception):
    """The study stops here for now; starting it again goes on."""


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """The newest wish."""

    request: Request = "run"
    why: str = ""
    exiting: bool = False
    """Whether the process is to end, by a signal or for a fault; a command could be taken back."""
    signal: int = 0
    until: float = math.inf
    """On the monotonic clock: how long trials have to come to a checkpoint."""


class StudyControl:
    """Takes wishes from signals, other shells and faults; any thread, and a signal's handler, may ask.

    No lock, for a handler may come while its own thread holds it: each attribute is set by one assignment,
    and a command has another one than what ends the process, so that neither can overwrite the other.

    The file is the newest process's, from its first word on: one that was taken over leaves it as it is.

    Args:
        folder: Of the study; its trials read the file there.
        token: Names the process that runs the study: trials of another one write nothing more.
    """

    def __init__(self, folder: Folder, token: str) -> None:
        self.folder, self.token = folder, token
        self._command, self._leaving = CurrentRequest(), CurrentRequest()
        self.fault: Exception | None = None
        """Why the study cannot go on, where it was no wish."""
        self.live = 0
        """How many trials have processes now."""
        self._ended_runs: frozenset[str] = frozenset()
        self._changed = threading.Event()
        self._started = False
        self._write()
        self._started = True

    def send(self, request: Request, why: str = "", *, seconds: float = math.inf) -> None:
        """Another shell's wish: the newest counts, unless the process is to end.

        Args:
            request: What is wanted.
            why: Shown to the user.
            seconds: That trials have to come to a checkpoint.
        """
        self._command = CurrentRequest(request, why, until=time.monotonic() + seconds)
        self._announce()

    def pause_and_exit(self, why: str, *, seconds: float, signal: int = 0) -> None:
        """Pause and end the process, at most so many seconds from now; nothing takes it back."""
        if not self._leaving.exiting:
            until = time.monotonic() + seconds
            self._leaving = CurrentRequest("pause", why, exiting=True, signal=signal, until=until)
            self._announce()

    def fail(self, error: Exception, *, seconds: float) -> None:
        """Pause for a fault that someone has to mend."""
        if self.fault is None:
            self.fault = error
        self.pause_and_exit(str(error), seconds=seconds)

    def fail_thread(self, name: str) -> Callable[[BaseException], None]:
        """What a `GuardedThread` calls for an error: the study pauses, and the process ends."""

        def fail(error: BaseException) -> None:
            self.fail(PausedError(f"the thread {name!r} failed: {describe(error)}"), seconds=FAULT_SECONDS)

        return fail

    def end_run(self, key: str) -> None:
        """Let a run end before its next epoch and write nothing more."""
        self._ended_runs |= {key}
        self._write()

    def remove_file(self) -> None:
        """Remove the file: nobody is left to hear."""
        if not self._is_taken_over():
            self.folder.remove(FILE)

    @property
    def current(self) -> CurrentRequest:
        """The newest wish that counts."""
        exiting = self._leaving
        return exiting if exiting.exiting else self._command

    @property
    def request(self) -> Request:
        """The newest."""
        return self.current.request

    def is_overdue(self, by: float = 0.0) -> bool:
        """Whether the trials' time has been over for so many seconds."""
        return time.monotonic() >= self.current.until + by

    def check(self) -> None:
        """Between two pieces of work before the trials.

        Raises:
            PausedError: Something else than to go on is wished.
        """
        if self.request != "run":
            raise PausedError(self.current.why)

    def wait(self) -> bool:
        """Where a command has paused the study, until another one is given; whether it is to go on."""
        while self.request == "pause" and not self.current.exiting:
            self._changed.wait(POLL_SECONDS)
            self._changed.clear()
        return self.request == "run"

    def _announce(self) -> None:
        self._write()
        self._changed.set()

    def _write(self) -> None:
        content: dict[str, object] | None = None
        if self._started and self._is_taken_over():
            return
        try:
            while content != (content := self._content()):  # a signal may have come in between
                self.folder.write(FILE, json.dumps(content).encode())
        except OSError as error:  # a full disk, say: then trials are stopped without a word
            if self.fault is None and self.request == "run":
                raise
            del error

    def _is_taken_over(self) -> bool:
        """Whether the file is another process's; one that cannot be read is not."""
        try:
            return bool(json.loads(self.folder.read(FILE))["holder"] != self.token)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _content(self) -> dict[str, object]:
        return {"holder": self.token, "request": self.request, "ended_runs": sorted(self._ended_runs)}


class DeadlineStopper(Stopper):
    """Ends Tune's work once trials were cancelled, or did not come to a checkpoint in time."""

    def __init__(self, control: StudyControl) -> None:
        self._control = control

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        """No trial by itself."""
        return False

    def stop_all(self) -> bool:
        """Asked again and again by Tune."""
        return self._control.request == "cancel" or (
            self._control.request == "pause" and self._control.is_overdue()
        )

    def __getstate__(self) -> dict[str, object]:
        """Nothing for Tune's snapshot, which is never restored."""
        return {}


class ControlReader:
    """A trial's ear.

    Args:
        folder: Of the control, as `folder_at` finds it.
        token: Of the process that has begun the trial.
        at_once: Wishes that end it.
        key: Of its run, where that may be dismissed.
    """

    def __init__(
        self,
        folder: str,
        token: str,
        at_once: tuple[Request, ...] = IMMEDIATE_REQUESTS,
        key: str | None = None,
    ) -> None:
        self._folder, self._token, self._at_once, self._key = folder_at(folder), token, at_once, key
        self._pace = POLL_SECONDS if isinstance(self._folder, LocalFolder) else REMOTE_POLL_SECONDS
        self._read_at, self._directive, self._was_read = -math.inf, Directive.CONTINUE, False

    def __call__(self) -> Directive:
        """Look, now and then.

        Raises:
            UnreachableError: The study's folder was there and is not any more.
        """
        if time.monotonic() - self._read_at >= self._pace:
            self._read_at = time.monotonic()
            try:
                content = json.loads(self._folder.read(FILE))
                holder, request, ended_runs = content["holder"], content["request"], content["ended_runs"]
            except FileNotFoundError:
                if self._was_read and isinstance(self._folder, LocalFolder):
                    where = f"{self._folder}: was removed, or its disk is not mounted any more"
                    raise UnreachableError(errno.ENOENT, where) from None
                return self._directive
            except (OSError, ValueError, KeyError, TypeError):  # unreadable for the moment
                return self._directive
            self._was_read = True
            if holder != self._token or self._key in ended_runs:
                self._directive = Directive.ABANDON
            else:
                self._directive = Directive.PAUSE if request in self._at_once else Directive.CONTINUE
        return self._directive
