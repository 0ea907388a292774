"""Commands run as a user runs them, and readers of what they store."""

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

ROOT = Path(__file__).resolve().parents[2]

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

[finals]
candidates = 1
"""
"""One arm, one trial, one final."""


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def write_study(folder: Path, *changes: tuple[str, str], name: str = "tiny") -> Path:
    """The tiny study with some of its lines changed."""
    text = TINY
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def environment(**variables: str) -> dict[str, str]:
    """A command's environment variables: this process's without those in UNSET, and `variables`."""
    inherited = {key: value for key, value in os.environ.items() if key not in UNSET}
    return inherited | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables


def start(folder: Path, command: str, *args: str, **variables: str) -> "subprocess.Popen[str]":
    """Start `python -m lpstudy.COMMAND` in a folder, as the leader of a process group, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", f"lpstudy.{command}", *args],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=_default_interrupts,
    )


def _default_interrupts() -> None:
    """Reset SIGINT, which children of a shell's background job ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_exit(process: "subprocess.Popen[str]") -> CommandResult:
    """Wait for a command to exit, and return its result."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return CommandResult(process.returncode, out, err)


def run(folder: Path, command: str, *args: str, **variables: str) -> CommandResult:
    """Run `python -m lpstudy.COMMAND` in a folder."""
    return wait_for_exit(start(folder, command, *args, **variables))


def call(main: Callable[[Sequence[str]], int], folder: Path, *args: str) -> CommandResult:
    """Run a command in this process, which saves the imports; standard error is no terminal.

    MLflow keeps one store for each URI: the default, which is relative, would be that of another folder.
    """
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with pytest.MonkeyPatch.context() as patch:
                if "MLFLOW_TRACKING_URI" not in os.environ:
                    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
                code = main(args)
        except SystemExit as error:  # argparse exits so
            code = int(error.code or 0)
        finally:  # a command may set variables of its own process, such as a server's credentials
            os.environ.clear()
            os.environ.update(before)
    return CommandResult(code, out.getvalue(), err.getvalue())


def wait_for(condition: Callable[[], Any], *, seconds: float = 120) -> Any:
    """Wait for the condition's first true value, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise TimeoutError(f"not within {seconds} s")


def records(folder: Path, study: str) -> list[Record]:
    """All runs in the ledger of a study in `folder/studies`."""
    return read_ledger(ledger_file_url(folder / "studies" / study), study).records()


def client_of(folder: Path) -> MlflowClient:
    """A client of the MLflow database in a study's working directory."""
    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def runs(client: MlflowClient, study: str) -> list[Run]:
    """Every run of a study in MLflow."""
    experiment = client.get_experiment_by_name(f"lpstudy/{study}")
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def run_keys(mlflow_runs: list[Run]) -> list[str]:
    """The sorted keys of the runs, duplicates included."""
    return sorted(run.data.tags["lpstudy.key"] for run in mlflow_runs)


def files(folder: Path) -> list[str]:
    """The relative paths of all files below a folder, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def free_port() -> int:
    """A port of loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(
    folder: Path, port: int, *more: str, **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a real MLflow server on loopback, with its store in a folder.

    MLflow uses the last of a repeated flag, so `more` overrides.
    """
    folder.mkdir(exist_ok=True)
    args = ["server", "-w", "1", "--host", "127.0.0.1", "--port", str(port)]
    args += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    args += ["--artifacts-destination", str(folder / "artifacts"), *more]
    variables |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *args],
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
    """Kill a process and all processes of its group."""
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


def trial_processes(pid: int) -> list[int]:
    """The ids of the processes in which a sweep's trials run."""
    return [
        child for child, line in descendants(pid).items() if "ImplicitFunc" in line or "run_in_actor" in line
    ]


def terminate_all(pid: int) -> None:
    """Send SIGTERM to a process, then to it and all its descendants, as a machine's shutdown does."""
    below = descendants(pid)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.05)
    for one in (pid, *below):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGTERM)


@contextlib.contextmanager
def suspend(pids: Iterable[int]) -> Iterator[None]:
    """Suspend processes, at least one, within the context; they may be killed meanwhile."""
    suspended = list(pids)
    assert suspended
    for pid in suspended:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in suspended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def error_line(result: CommandResult) -> str:
    """The single line on standard error of a command that refused its input."""
    assert result.out == ""
    assert re.fullmatch(r"lpstudy \w+: [^\n]+\n", result.err), result.err
    return result.err


def descendants(pid: int) -> dict[int, str]:
    """The command line of each descendant of a process, by its id (Linux)."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    family: set[int] = set()
    generation = {pid}
    while generation:
        family |= generation
        generation = {child for child, parent in parents.items() if parent in generation} - family
    lines: dict[int, str] = {}
    for child in family - {pid}:
        with contextlib.suppress(OSError):
            lines[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return lines
