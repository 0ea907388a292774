"""The request that a running study follows, and the control file by which its trials receive it."""

import errno
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lpstudy.disk import UnreachableError
from lpstudy.folder import Folder, LocalFolder, folder_at
from lpstudy.ledger import Request
from lpstudy.threads import describe_error
from lpstudy.training import Directive

FILE = "control.json"
POLL_SECONDS = 0.5
"""Seconds between two reads of the control file by a trial."""
REMOTE_POLL_SECONDS = 2.0
"""The same in an object store, where each read is a network request."""
FAULT_SECONDS = 10.0
"""Time for trials to write a checkpoint when the study cannot continue."""
IMMEDIATE_REQUESTS: tuple[Request, ...] = ("pause", "cancel")
"""Requests at which a trial stops before its last epoch."""


class PausedError(Exception):
    """The study is paused; starting it again resumes it."""


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """A request with its reason and deadline."""

    request: Request = "run"
    why: str = ""
    is_exit: bool = False
    """Whether the process must end, by a signal or a fault; a user's command can be revoked instead."""
    signal: int = 0
    deadline: float = math.inf
    """When trials must have written a checkpoint, on the monotonic clock."""


class StudyControl:
    """The study's current request, from signals, other shells and faults; usable in any thread or handler.

    There is no lock, because a signal handler may interrupt the thread that holds it. Each attribute is set
    by one assignment, and users' commands and exit requests have separate attributes, so that neither can
    overwrite the other.

    The control file belongs to the newest process, from its first write on: a process whose study was taken
    over does not write to it.

    Args:
        folder: The study's folder; its trials read the control file there.
        token: Identifies the process that runs the study; trials of another process stop writing.
    """

    def __init__(self, folder: Folder, token: str) -> None:
        self.folder, self.token = folder, token
        self._command, self._exit_request = CurrentRequest(), CurrentRequest()
        self.fault: Exception | None = None
        """The fault that ends the study; None if there is none."""
        self.live_trials = 0
        """The number of trials that have processes now."""
        self._ended_runs: frozenset[str] = frozenset()
        self._changed = threading.Event()
        self._started = False
        self._write()
        self._started = True

    def send(self, request: Request, why: str = "", *, seconds: float = math.inf) -> None:
        """Follow a request from another shell; the newest one counts, unless the process must end.

        Args:
            request: The request.
            why: The reason shown to the user.
            seconds: Time for trials to write a checkpoint.
        """
        self._command = CurrentRequest(request, why, deadline=time.monotonic() + seconds)
        self._announce()

    def pause_and_exit(self, why: str, *, seconds: float, signal: int = 0) -> None:
        """Pause the study and end the process within so many seconds; this cannot be revoked."""
        if not self._exit_request.is_exit:
            deadline = time.monotonic() + seconds
            self._exit_request = CurrentRequest("pause", why, is_exit=True, signal=signal, deadline=deadline)
            self._announce()

    def fail(self, error: Exception, *, seconds: float) -> None:
        """Pause the study because of a fault."""
        if self.fault is None:
            self.fault = error
        self.pause_and_exit(str(error), seconds=seconds)

    def fail_thread(self, name: str) -> Callable[[BaseException], None]:
        """An error handler for a `GuardedThread` that pauses the study and ends the process."""

        def fail(error: BaseException) -> None:
            self.fail(
                PausedError(f"the thread {name!r} failed: {describe_error(error)}"), seconds=FAULT_SECONDS
            )

        return fail

    def end_run(self, key: str) -> None:
        """End a run before its next epoch; it writes nothing more."""
        self._ended_runs |= {key}
        self._write()

    def remove_file(self) -> None:
        """Remove the control file, because no trial is left to read it."""
        if not self._is_taken_over():
            self.folder.remove(FILE)

    @property
    def current(self) -> CurrentRequest:
        """The request in force: an exit request, else the newest command."""
        exit_request = self._exit_request
        return exit_request if exit_request.is_exit else self._command

    @property
    def request(self) -> Request:
        """The name of the request in force."""
        return self.current.request

    def is_overdue(self, by: float = 0.0) -> bool:
        """Whether the trials' deadline passed at least so many seconds ago."""
        return time.monotonic() >= self.current.deadline + by

    def check(self) -> None:
        """Raise an error if the study must not continue; called between two steps before the trials.

        Raises:
            PausedError: The request is not `run`.
        """
        if self.request != "run":
            raise PausedError(self.current.why)

    def wait(self) -> bool:
        """Wait while a command pauses the study; returns whether the study resumes."""
        while self.request == "pause" and not self.current.is_exit:
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
            while content != (content := self._content()):  # a signal may have arrived in between
                self.folder.write(FILE, json.dumps(content).encode())
        except OSError as error:  # a full disk, say: the study is ending anyway
            if self.fault is None and self.request == "run":
                raise
            del error

    def _is_taken_over(self) -> bool:
        """Whether another process has written the control file; False if it cannot be read."""
        try:
            return bool(json.loads(self.folder.read(FILE))["holder"] != self.token)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _content(self) -> dict[str, object]:
        return {"holder": self.token, "request": self.request, "ended_runs": sorted(self._ended_runs)}


class ControlReader:
    """A trial's reader of the control file.

    Args:
        folder: The study's folder, as `folder_at` parses it.
        token: The token of the process that started the trial.
        at_once: Requests at which the trial stops.
        key: The key of the trial's run, if the run can be ended on its own.
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
        """The directive for the trial; the file is read once in a while.

        Raises:
            UnreachableError: The control file has disappeared with the study's folder.
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
