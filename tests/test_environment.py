"""Environment variables and folder names as users write them: accepted, or refused in one line."""

import os
from pathlib import Path

import pytest
from commands import call, error_line, files, write_study

from lpstudy import environment, export, plan, report, status, sweep
from lpstudy.cache import cache_folder, shared_cache
from lpstudy.data import DataSpec, configured_root, default_root
from lpstudy.folder import LocalFolder, RemoteFolder, folder_at
from lpstudy.locations import parse_folder, parse_path

HOME = str(Path.home())
NAMES = ("LPSTUDY_CACHE", "LPSTUDY_LOCAL", "LPSTUDY_DATA")
LETTERS = [
    "?",
    "#",
    "%20",
    "%",
    ";",
    " ",
    "ä",
    "日本",
    "{x}",
    "&",
    "=",
    ":",
    "@",
    "'",
    '"',
    "*",
    "[a]",
    "\\",
    "$",
]


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("~/x", f"{HOME}/x"),
        ("~", HOME),
        ("$HOME/x", f"{HOME}/x"),
        ("${HOME}/x", f"{HOME}/x"),
        ("./~x", "./~x"),
        ("./$HOME", "./$HOME"),
        ("a$HOME/b", "a$HOME/b"),
        ("/data/~x", "/data/~x"),
        ("-x", "-x"),
    ],
)
def test_a_name_is_expanded_at_its_begin_alone(text: str, becomes: str) -> None:
    assert environment.expand(text) == becomes
    assert parse_folder(text) == LocalFolder(Path(becomes))
    assert parse_path(text) == Path(becomes)


@pytest.mark.parametrize("text", ["~nobody-here/x", "$NO_SUCH_NAME/x", "${NO_SUCH_NAME}", "", "  "])
def test_what_cannot_be_expanded_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no such user|is not set|is empty"):
        parse_folder(text)


@pytest.mark.parametrize("letter", LETTERS)
def test_letters_of_a_path_are_taken_literally(letter: str) -> None:
    assert parse_folder(f"/data/a{letter}b").url == f"/data/a{letter}b"
    assert folder_at(parse_folder(f"/data/a{letter}b").url) == LocalFolder(Path(f"/data/a{letter}b"))


@pytest.mark.parametrize("text", ["a\nb", "a\x1bb", "a\u2028b", "a\udcffb", "file:///a%0Ab"])
def test_letters_that_no_name_may_have_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"\A[ -~]+\Z"):
        parse_folder(text)


def test_a_working_directory_with_such_letters_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a\nb").mkdir()
    monkeypatch.chdir(tmp_path / "a\nb")
    with pytest.raises(ValueError, match="control characters"):
        parse_folder("studies")


@pytest.mark.parametrize(
    "text",
    ["file:///a?b", "file:///a#b", "file:x", "file:/x", "file://elsewhere/x", "s3://b/a*", "s3://b/a?x"],
)
def test_a_url_that_would_be_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"%3F|file:///folder|other folders too"):
        parse_folder(text)


def test_a_path_of_this_machine_is_no_url() -> None:
    assert parse_path("FILE:///a%3Fb") == Path("/a?b")
    with pytest.raises(ValueError, match=r"\As3://b: must be a folder of this machine"):
        parse_path("s3://user:secret@b")


@pytest.mark.parametrize("value", ["~/x", "$HOME/x", "${HOME}/x"])
def test_variables_are_expanded(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, value)
    assert shared_cache() == LocalFolder(Path(HOME, "x"))
    assert cache_folder() == default_root() == Path(HOME, "x")
    monkeypatch.setenv("LPSTUDY_CACHE", "local:///far")
    assert isinstance(shared_cache(), RemoteFolder)
    assert cache_folder() == Path(HOME, "x")
    assert configured_root(DataSpec(kind="digits", root=value)) == Path(HOME, "x")


def test_names_within_a_variable_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me")
    monkeypatch.setenv("LPSTUDY_CACHE", "/scratch/$WHO/${WHO}s/cache")
    assert shared_cache() == LocalFolder(Path("/scratch/me/mes/cache"))


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS", "RAY_ADDRESS"):
        monkeypatch.setenv(name, value)
    assert default_root() == Path(HOME, ".cache/lpstudy")
    assert environment.tracking_uri_variable() is None
    assert environment.threads() is None
    environment.normalize_variables()
    assert not {*NAMES, "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS", "RAY_ADDRESS"} & os.environ.keys()


def test_other_processes_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in zip(NAMES, ("a", "s3://bucket/x", "~/b"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///~/m.db")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "~/token")
    monkeypatch.setenv("RAY_TMPDIR", " ")
    environment.normalize_variables()
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == f"{HOME}/token"
    assert "RAY_TMPDIR" not in os.environ
    assert [os.environ[name] for name in NAMES] == [str(tmp_path / "a"), "s3://bucket/x", f"{HOME}/b"]
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{HOME}/m.db"


@pytest.mark.parametrize(("value", "threads"), [("4", 4), ("4,2", 4), (" 3 , 2,1", 3), ("+2", 2), ("08", 8)])
def test_threads_are_those_of_the_outermost_level(
    value: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert environment.threads() == threads


BAD = {
    "OMP_NUM_THREADS": ["many", "0", "-1", "4,", "4;2", "1.5", "9" * 5000],
    "LPSTUDY_CACHE": ["~nobody-here", "/a/$NO_SUCH_NAME", "a\nb", "s4://b"],
    "LPSTUDY_DATA": ["~nobody-here", "a\nb"],
    "LPSTUDY_LOCAL": ["~nobody-here", "a\nb"],
    "MLFLOW_TRACKING_URI": ["a\nb", "~nobody-here/x", "sqlite:////tmp/a?b/m.db", "sqlite:////tmp/a%3Fb/m.db"],
    "MLFLOW_HTTP_REQUEST_TIMEOUT": ["long", "-1"],
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": ["none"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_variable_that_cannot_be_used_is_refused_before_anything_starts(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    monkeypatch.setenv(name, value)
    result = call(sweep.main, tmp_path, "tiny.toml")
    assert result.code == 2, result
    assert name in error_line(result)
    assert files(tmp_path) == ["tiny.toml"]


FLAGS = [
    (sweep.main, ["tiny.toml", "--storage"]),
    (sweep.main, ["tiny.toml", "--reports"]),
    (sweep.main, ["tiny.toml", "--data-root"]),
    (sweep.main, ["tiny.toml", "--ledger"]),
    (plan.main, ["tiny.toml", "--data-root"]),
    (report.main, ["tiny", "--reports"]),
    (export.main, ["tiny", "--to"]),
    (status.main, ["--storage"]),
    (status.main, ["--ledger"]),
]


@pytest.mark.parametrize(("main", "words"), FLAGS)
@pytest.mark.parametrize("value", ["", "a\nb", "sqlite:///~nobody-here/x"])
def test_a_flag_that_names_no_folder_is_refused_in_one_line(
    main: object, words: list[str], value: str, tmp_path: Path
) -> None:
    write_study(tmp_path)
    result = call(main, tmp_path, *words, value)  # type: ignore[arg-type]
    assert result.code == 2, result
    error_line(result)
    assert files(tmp_path) == ["tiny.toml"]
