"""One suite for every kind of folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_store import BUCKET, PATHS, object_store

from lpstudy.disk import StorageError, UnreachableError
from lpstudy.folder import Folder, LocalFolder, RemoteFolder, folder_at

KINDS = ["path", "file", "fsspec", "s3"]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket."""
    with object_store() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "path":
            return str(tmp_path / "studies")
        case "file":
            return f"file://{tmp_path}/studies"
        case "fsspec":  # its own way to the disk, as any other of its file systems
            return f"local://{tmp_path}/studies"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


@pytest.fixture
def folder(url: str) -> Folder:
    return folder_at(url)


def test_a_file_is_read_as_it_was_written_and_replaced_whole(folder: Folder) -> None:
    folder.write("a.json", b"first, and long")
    assert folder.read("a.json") == b"first, and long"
    folder.write("a.json", b"second")
    assert folder.read("a.json") == b"second"
    assert folder.names() == ["a.json"]
    folder.write("empty", b"")
    assert folder.read("empty") == b""


def test_a_file_that_is_not_there_is_missed_and_may_be_removed(folder: Folder) -> None:
    folder.write("a", b"1")
    with pytest.raises(FileNotFoundError):
        folder.read("b")
    folder.remove("b")
    (folder / "none").remove("b")
    assert folder.names() == ["a"]


def test_names_are_of_files_alone_in_order_and_of_now(folder: Folder) -> None:
    assert folder.names() == []
    for name in ("c-2", "c-10", ".c-1"):
        folder.write(name, b"")
        (folder / "below").write(name, b"")
    assert folder.names() == [".c-1", "c-10", "c-2"]
    folder.remove("c-10")
    assert folder.names() == [".c-1", "c-2"]
    assert (folder / "below").names() == [".c-1", "c-10", "c-2"]


def test_a_folder_below_is_found_by_its_url_in_another_process(folder: Folder) -> None:
    below = folder / "runs/bp~x/trial-0"
    below.write("a", b"here")
    assert below.names() == ["a"]
    code = "import sys; from lpstudy.folder import folder_at; f = folder_at(sys.argv[1])"
    code += "; f.write('b', f.read('a') + b' and there')"
    subprocess.run(
        [sys.executable, "-c", code, below.url], env=os.environ | {"PYTHONPATH": PATHS}, check=True
    )
    assert below.read("b") == b"here and there"
    assert below.names() == ["a", "b"]
    assert (folder / "runs").names() == []


def test_to_clear_removes_all_of_it_and_nothing_beside(folder: Folder) -> None:
    (folder / "a/b").write("x", b"1")
    (folder / "ab").write("x", b"1")
    assert (folder / "a").exists()
    (folder / "a").clear()
    (folder / "a").clear()
    assert not (folder / "a").exists()
    assert (folder / "ab").names() == ["x"]


def test_a_folder_that_moves_takes_all_with_it(folder: Folder) -> None:
    study = folder / "tiny"
    (study / "runs/a").write("x", b"1")
    study.write("y", b"2")
    study.rename("tiny.old1")
    assert not study.exists()
    assert folder.names() == []
    old = study.sibling("tiny.old1")
    assert old.read("y") == b"2"
    assert (old / "runs/a").read("x") == b"1"


def test_a_file_url_is_a_plain_folder(tmp_path: Path) -> None:
    assert folder_at(f"file://{tmp_path}/a%20b") == LocalFolder(tmp_path / "a b")
    assert folder_at("file://localhost/x") == LocalFolder(Path("/x"))
    assert folder_at("studies").resolve() == LocalFolder(Path.cwd() / "studies")
    with pytest.raises(ValueError, match="file:///folder"):
        folder_at("file://elsewhere/x")


def test_a_url_nobody_knows_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ValueError, match="foo://x: Protocol not known: foo"):
        folder_at("foo://x")
    with pytest.raises(ValueError, match=r"oss://x: .*ossfs"):
        folder_at("oss://x")
    with pytest.raises(ValueError, match="a chain of file systems is not supported"):
        folder_at("simplecache::s3://x")


def test_a_store_that_does_not_answer_is_named_without_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    folder = folder_at(f"local://{blocked}")
    for act in (lambda: folder.write("a", b""), lambda: folder.read("a")):
        with pytest.raises(UnreachableError, match=r"blocked/a: ") as refused:
            act()
        assert isinstance(refused.value, StorageError)
    folder = RemoteFolder("ftp://user:secret@host/x")
    assert str(folder) == "ftp://host/x"
