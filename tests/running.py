"""Studies run as a user runs them, and what they leave."""

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from user_settings import UNSET

from lpstudy.ledger import Record, ledger_file_url, read_ledger

ROOT = Path(__file__).resolve().parents[1]

TINY = """
[data]
kind = "digits"
labels_per_class = 5

[teacher]
family = "convnet"
depth = 2
width = 4
epochs = 1
batch_size = 50

[[students]]
family = "convnet"
depth = 2
width = 2

[methods.bp]

[training]
batch_size = 50
learning_rate = { low = 1e-3, high = 1e-1, log = true }
checkpoint_seconds = 0.0

[budget]
trials = 1
epochs = 2
seeds = 1
"""
"""One arm, one trial, one final."""


@dataclass(frozen=True)
class Left:
    """What a command left: its exit code and its words."""

    code: int
    out: str
    err: str


def write_space(folder: Path, *changes: tuple[str, str], name: str = "tiny") -> Path:
    """The tiny study with some of its lines changed."""
    text = TINY
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def environment(**variables: str) -> dict[str, str]:
    """Of a command: this process's, without what would lead the study elsewhere."""
    given = {key: value for key, value in os.environ.items() if key not in UNSET}
    return given | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables


def start(folder: Path, command: str, *words: str, **variables: str) -> "subprocess.Popen[str]":
    """Begin `python -m lpstudy.COMMAND` in a folder, as the leader of a process group, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", f"lpstudy.{command}", *words],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """A shell that starts the tests in the background has its children ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: "subprocess.Popen[str]") -> Left:
    """Wait for a command's end."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return Left(process.returncode, out, err)


def run(folder: Path, command: str, *words: str, **variables: str) -> Left:
    """`python -m lpstudy.COMMAND` in a folder, to its end."""
    return ended(start(folder, command, *words, **variables))


def call(main: Callable[[Sequence[str]], int], folder: Path, *words: str) -> Left:
    """A command in this process, which saves the imports; standard error is no terminal.

    MLflow keeps one store for each URI: the default, which is relative, would be that of another folder.
    """
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with pytest.MonkeyPatch.context() as patch:
                if "MLFLOW_TRACKING_URI" not in os.environ:
                    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
                code = main(words)
        except SystemExit as left:  # argparse leaves so
            code = int(left.code or 0)
        finally:  # what a command sets is its own process's: credentials of a server, say
            os.environ.clear()
            os.environ.update(before)
    return Left(code, out.getvalue(), err.getvalue())


def wait_for(condition: Callable[[], Any], *, seconds: float = 120) -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise TimeoutError(f"not within {seconds} s")


def records(folder: Path, study: str) -> list[Record]:
    """All that the ledger of a study in `folder/studies` knows."""
    return read_ledger(ledger_file_url(folder / "studies" / study), study).records()


def client_of(folder: Path) -> MlflowClient:
    """Of the database that a study makes in its working directory."""
    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def runs(client: MlflowClient, study: str) -> list[Run]:
    """Every run of a study in MLflow."""
    experiment = client.get_experiment_by_name(f"lpstudy/{study}")
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def keys(found: list[Run]) -> list[str]:
    """The runs' keys in order, each as often as there are runs of it."""
    return sorted(run.data.tags["lpstudy.key"] for run in found)


def files(folder: Path) -> list[str]:
    """All files below a folder, by their places in it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(
    folder: Path, port: int, *more: str, **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A real server on loopback with its store in a folder, for as long as the context lasts.

    Of a flag that is given again in `more`, MLflow takes the last.
    """
    folder.mkdir(exist_ok=True)
    words = ["server", "-w", "1", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    words += ["--artifacts-destination", str(folder / "artifacts"), *more]
    variables |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=folder,
            env=environment(**variables),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(lambda: server.poll() is not None or _answers(port))
            assert server.poll() is None, (folder / "log").read_text()[-2000:]
            yield server
        finally:
            stop_group(server)


def stop_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it has started in its own session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def _answers(port: int) -> bool:
    import http.client

    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


def of_trials(pid: int) -> list[int]:
    """The processes in which the trials of a sweep run."""
    return [
        child for child, line in descendants(pid).items() if "ImplicitFunc" in line or "run_in_actor" in line
    ]


def terminate_all(pid: int) -> None:
    """SIGTERM to a process, and then to all, it among them, as where a machine shuts down."""
    below = descendants(pid)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.05)
    for one in (pid, *below):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGTERM)


@contextlib.contextmanager
def halted(pids: Iterable[int]) -> Iterator[None]:
    """Processes, at least one, that stand still within it; they may be killed meanwhile."""
    still = list(pids)
    assert still
    for pid in still:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in still:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def one_line(left: Left) -> str:
    """The one line on standard error of a command that refused; fails where there is more or less."""
    assert left.out == ""
    assert re.fullmatch(r"lpstudy \w+: [^\n]+\n", left.err), left.err
    return left.err


def descendants(pid: int) -> dict[int, str]:
    """The processes that a process has started, and they in turn: id and command line (Linux)."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found, grown = {pid}, True
    while grown:
        below = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | below, bool(below)
    lines: dict[int, str] = {}
    for child in found - {pid}:
        with contextlib.suppress(OSError):
            lines[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return lines
