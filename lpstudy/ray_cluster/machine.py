"""Requirements of a Ray started on this machine: a short folder for its sockets, and a token."""

import os
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from lpstudy import environment
from lpstudy.ray_cluster.ray_patches import temporary_folder

SOCKET = "session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""The longest name of a socket that Ray needs in its folder."""
MAX_BYTES = 103 if sys.platform == "darwin" else 107
"""Maximum length of a socket's name: `sun_path` in sys/un.h."""
TOKEN_SECONDS = 5.0
"""Time for another process to write the token into the file that it created."""


def check_machine() -> None:
    """Create Ray's token and check the length of its sockets' names; call it before starting anything.

    Raises:
        ValueError: Ray cannot be started; the message names the variable to set.
    """
    _check_folder()
    _token()


def _check_folder() -> None:
    folder = temporary_folder()
    size = len(os.fsencode(folder / SOCKET.format(pid=os.getpid())))
    if size > MAX_BYTES:
        raise ValueError(
            f"Ray cannot be started on this machine: the names of its sockets would have {size} bytes in"
            f" {folder}, and {MAX_BYTES} are allowed: set RAY_TMPDIR to a short folder, /tmp say"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"Ray cannot be started on this machine: cannot write in {folder}: {error.strerror or error}:"
            " set RAY_TMPDIR to a short folder, /tmp say"
        ) from None


def _token() -> None:
    """Create the file with a local Ray's token, readable by its owner only (Ray's own file is 0644)."""
    if environment.variable("RAY_AUTH_TOKEN") is not None:
        return
    token_path = environment.variable("RAY_AUTH_TOKEN_PATH")
    path = Path("~/.ray/auth_token")
    try:
        if token_path is None:
            path = Path.home() / ".ray" / "auth_token"
        else:
            path = Path(environment.expand(token_path)).absolute()
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write(path, secrets.token_hex(32))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        _wait_for_content(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{path}: Ray's token cannot be stored there: {reason}: set RAY_AUTH_TOKEN_PATH to a file in a"
            " folder of yours that can be written"
        ) from None


def _write(path: Path, token: str) -> None:
    """Write the token atomically where the file system has hard links; the first of two processes wins."""
    with NamedTemporaryFile("w", dir=path.parent, prefix=".auth_token-") as temporary:  # mode 0600
        temporary.write(token)
        temporary.flush()
        with suppress(FileExistsError):
            try:
                os.link(temporary.name, path)
            except FileExistsError:
                raise
            except OSError:  # no hard links: vfat, some network and container file systems
                with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                    file.write(token)


def _wait_for_content(path: Path) -> None:
    deadline = time.monotonic() + TOKEN_SECONDS
    while not path.read_text(errors="replace").strip():
        if time.monotonic() >= deadline:
            raise OSError("the file is empty, remove it")
        time.sleep(0.05)
