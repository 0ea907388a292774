"""Ledgers in folders whose names have a meaning in URLs."""

from pathlib import Path

import pytest

from lpstudy.folder import LocalFolder
from lpstudy.ledger import database_url, display_url, ledger_file_url, open_storage, sqlite_file, sqlite_url
from lpstudy.ledger.storage import engine_of

NAMES = [
    "a?b",
    "a#b",
    "a%20b",
    "a%3Fb",
    "a%b",
    "a;b",
    "a b",
    "äö 日本",
    "a{0}b{x}",
    "a&b=c",
    "-a",
    "a:b@c",
    "'a\"",
    "*",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_ledger_is_in_the_folder_of_that_very_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    storage = open_storage(ledger_file_url(folder))
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == [
        Path(name),
        Path(name, "ledger.db"),
    ]
    assert display_url(str(engine_of(storage).url)) == str(folder / "ledger.db")
    assert sqlite_file(sqlite_url(folder / "x.db")) == folder / "x.db"


def test_two_storages_that_differ_after_a_question_mark_have_a_ledger_each(tmp_path: Path) -> None:
    from lpstudy.command.study_ledgers import studies

    for name in ("s?1", "s?2"):
        (tmp_path / name / "tiny").mkdir(parents=True)
    open_storage(ledger_file_url(tmp_path / "s?1" / "tiny"))
    assert studies(LocalFolder(tmp_path / "s?1"), None) == ["tiny"]
    assert studies(LocalFolder(tmp_path / "s?2"), None) == []


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////tmp/a?b/ledger.db",
        "sqlite:////tmp/a?b=c/ledger.db",
        "sqlite:////tmp/a?timeout=3/ledger.db",
        "sqlite:///a\nb.db",
        "",
    ],
)
def test_a_url_that_would_lead_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"as %3F|control characters|is empty"):
        database_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////tmp/a%3Fb/ledger.db",
        "sqlite:///ledger.db?timeout=3",
        "sqlite:///file:x.db?mode=ro&uri=true",
        "postgresql://host/db?sslmode=require",
    ],
)
def test_a_url_with_options_is_taken_as_it_is(url: str) -> None:
    assert database_url(url) == url


def test_a_ledger_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"there is no folder {tmp_path}/gone"):
        open_storage(sqlite_url(tmp_path / "gone" / "ledger.db"))
