"""The folders and limits that Ray needs: created, or refused with the variable to set."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lpstudy.ray_cluster import machine
from lpstudy.ray_cluster.machine import check_machine

PATH = "RAY_AUTH_TOKEN_PATH"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's home folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("RAY_AUTH_TOKEN", PATH):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        yield home


def test_a_token_is_made_once_for_its_owner_alone(home: Path) -> None:
    check_machine()
    path = home / ".ray" / "auth_token"
    token = path.read_text()
    assert len(token) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    check_machine()
    assert path.read_text() == token
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["auth_token"]


def test_without_hard_links_it_is_made_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    check_machine()
    path = home / ".ray" / "auth_token"
    assert len(path.read_text()) == 64
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_processes_take_the_same_one(home: Path) -> None:
    path = home / ".ray" / "auth_token"
    path.parent.mkdir()
    machine._write(path, "first")
    machine._write(path, "second")
    assert path.read_text() == "first"


def test_a_file_that_another_process_is_writing_is_waited_for(home: Path) -> None:
    path = home / ".ray" / "auth_token"
    path.parent.mkdir()
    path.touch(0o600)
    threading.Timer(0.3, lambda: path.write_text("token")).start()
    start_time = time.monotonic()
    check_machine()
    assert time.monotonic() - start_time > 0.2


def test_an_empty_file_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "TOKEN_SECONDS", 0.1)
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").touch()
    with pytest.raises(
        ValueError, match=r"auth_token: .* the file is empty, remove it: set RAY_AUTH_TOKEN_PATH"
    ):
        check_machine()


@pytest.mark.parametrize("kind", ["a file", "a folder in place of the token"])
def test_a_home_that_cannot_be_written_is_refused_with_the_variable(
    kind: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may run as root, whom a file mode does not stop."""
    if kind == "a file":
        (home / ".ray").write_text("")
    else:
        (home / ".ray" / "auth_token").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"cannot be stored there: .*set RAY_AUTH_TOKEN_PATH to a file"):
        check_machine()
    monkeypatch.setenv(PATH, str(tmp_path / "other" / "token"))
    check_machine()
    assert (tmp_path / "other" / "token").stat().st_mode & 0o777 == 0o600


def test_the_variable_may_begin_with_a_tilde(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH, "~/token")
    check_machine()
    assert (home / "token").is_file()
    assert os.environ[PATH] == str(home / "token")


def test_a_token_in_a_variable_needs_no_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    check_machine()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_too_long_for_sockets_is_refused_with_the_variable(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv(variable, str(tmp_path / ("x" * 90)))
    with pytest.raises(
        ValueError, match=r"would have \d+ bytes in .*: set RAY_TMPDIR to a short folder, /tmp say"
    ):
        check_machine()


def test_a_folder_that_cannot_be_written_is_refused_with_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Path(os.environ["RAY_TMPDIR"]) / "file"
    file.touch()
    monkeypatch.setenv("RAY_TMPDIR", str(file))
    with pytest.raises(ValueError, match=r"cannot write in .*/file/ray: Not a directory: set RAY_TMPDIR"):
        check_machine()
