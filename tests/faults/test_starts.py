"""Faults at the start of a study and of commands: one line, the right exit code, and no loss."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from commands import CommandResult, call, error_line, free_port, write_study
from staging import by_key, check_study, last_line

from lpstudy import export, operate, reconcile, status, sweep
from lpstudy.ledger import retry, storage

HUGE = ("depth = 2\nwidth = 4", "depth = 2\nwidth = 65_000")
"""The teacher's last convolution alone has 304 GB of weights."""


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory of a finished study."""
    folder = tmp_path_factory.mktemp("swept")
    write_study(folder)
    result = call(sweep.main, folder, "tiny.toml", "--in-process")
    assert result.code == 0, result.err
    return folder


@pytest.fixture
def folder(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study's working directory."""
    return shutil.copytree(finished_study, tmp_path / "copy")


def test_a_started_study_continues_while_mlflow_is_unreachable_and_is_written_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        result = call(sweep.main, folder, "tiny.toml", "--trials", "2", "--in-process")
    assert result.code == 74, result.err
    assert result.err.startswith(
        "warning: MLflow lags behind, training continues:  MLFLOW_TRACKING_URI=http://"
    )
    assert "`lpstudy reconcile tiny` updates it once it answers" in last_line(result)
    again = call(sweep.main, folder, "tiny.toml", "--trials", "2", "--in-process")
    assert again.code == 0, again.err
    assert {"bp-convnet-d2-w2/trial-0", "bp-convnet-d2-w2/trial-1"} < by_key(folder).keys()
    check_study(folder, len(by_key(folder)))
    check = call(reconcile.main, folder, "tiny", "--check")
    assert check.code == 0, check.out


@pytest.mark.parametrize("words", [["other.toml"], ["tiny.toml", "--fresh"]])
def test_a_new_study_is_refused_while_mlflow_is_unreachable(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(folder, name="other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    result = call(sweep.main, folder, *words)
    assert result.code == 2
    assert "no tracking server answers" in error_line(result)
    assert sorted(path.name for path in (folder / "studies").iterdir()) == ["tiny"]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the ledger as another process's transaction does."""
    with contextlib.closing(sqlite3.connect(folder / "studies/tiny/ledger.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.rollback()


COMMANDS = {
    "sweep": partial(sweep.main),
    "status": partial(status.main),
    "reconcile": partial(reconcile.main),
    "export": partial(export.main),
    "pause": partial(operate.main, command="pause"),
    "cancel": partial(operate.main, command="cancel"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_finds_the_ledger_locked_waits_and_gives_up_in_one_line(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 1.0)
    words = ["tiny.toml"] if command == "sweep" else ["tiny"]
    before = (folder / "studies/tiny/ledger.db").read_bytes()
    with locked(folder):
        result = call(COMMANDS[command], folder, *words)
    assert result.code == 75, result
    line = error_line(result)
    assert line.startswith(f"lpstudy {command}: the ledger ")
    assert "database is locked" in line
    assert (folder / "studies/tiny/ledger.db").read_bytes() == before


def test_a_teacher_that_does_not_fit_into_memory_is_reported_with_the_size(tmp_path: Path) -> None:
    write_study(tmp_path, HUGE)
    result: CommandResult = call(sweep.main, tmp_path, "tiny.toml", "--in-process")
    assert result.code == 1, result
    assert "the teacher: oom: tried to allocate 304200000000 bytes" in result.err.splitlines()[-1]
