"""Starts and commands that meet a fault: one line, the right exit code, and nothing lost."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from running import Left, call, free_port, one_line, write_space
from staging import by_key, last_line, whole

from lpstudy import export, operate, reconcile, status, sweep
from lpstudy.ledger import storage

HUGE = ("depth = 2\nwidth = 4", "depth = 2\nwidth = 65_000")
"""The teacher's last convolution alone has 304 GB of weights."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory of a study that has ended."""
    folder = tmp_path_factory.mktemp("swept")
    write_space(folder)
    left = call(sweep.main, folder, "tiny.toml")
    assert left.code == 0, left.err
    return folder


@pytest.fixture
def folder(swept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(swept, tmp_path / "copy")


def test_a_begun_study_goes_on_while_mlflow_is_away_and_is_written_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        left = call(sweep.main, folder, "tiny.toml", "--trials", "2")
    assert left.code == 74, left.err
    assert left.err.startswith(
        "warning: MLflow lags behind, training continues:  MLFLOW_TRACKING_URI=http://"
    )
    assert "`lpstudy reconcile tiny` updates it once it answers" in last_line(left)
    again = call(sweep.main, folder, "tiny.toml", "--trials", "2")
    assert again.code == 0, again.err
    assert {"bp-convnet-d2-w2/trial-0", "bp-convnet-d2-w2/trial-1"} < by_key(folder).keys()
    whole(folder, len(by_key(folder)))
    check = call(reconcile.main, folder, "tiny", "--check")
    assert check.code == 0, check.out


@pytest.mark.parametrize("words", [["other.toml"], ["tiny.toml", "--fresh"]])
def test_a_new_study_is_refused_while_mlflow_is_away(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_space(folder, name="other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    left = call(sweep.main, folder, *words)
    assert left.code == 2
    assert "no tracking server answers" in one_line(left)
    assert sorted(path.name for path in (folder / "studies").iterdir()) == ["tiny"]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another process's transaction on the ledger."""
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
    monkeypatch.setattr(storage, "RETRY_SECONDS", 1.0)
    words = ["tiny.toml"] if command == "sweep" else ["tiny"]
    before = (folder / "studies/tiny/ledger.db").read_bytes()
    with locked(folder):
        left = call(COMMANDS[command], folder, *words)
    assert left.code == 75, left
    line = one_line(left)
    assert line.startswith(f"lpstudy {command}: the ledger ")
    assert "database is locked" in line
    assert (folder / "studies/tiny/ledger.db").read_bytes() == before


def test_a_teacher_that_does_not_fit_into_memory_is_told_with_the_size(tmp_path: Path) -> None:
    write_space(tmp_path, HUGE)
    left: Left = call(sweep.main, tmp_path, "tiny.toml")
    assert left.code == 1, left
    assert "the teacher: oom: tried to allocate 304200000000 bytes" in left.err.splitlines()[-1]
