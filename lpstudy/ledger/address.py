"""Database URLs: built from paths, parsed from user input, displayed in messages."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

import sqlalchemy
from sqlalchemy.exc import ArgumentError

from lpstudy.environment import check_characters, expand
from lpstudy.redaction import without_credentials

SQLITE = "sqlite:///"
OPTIONS = {"uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
"""Options that SQLAlchemy accepts after the `?` of an SQLite URL; with `uri=true` it accepts more."""


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file, escaped for SQLAlchemy 2.1, which decodes the path."""
    return SQLITE + re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path)).replace("?", "%3F")


def ledger_file_url(folder: Path) -> str:
    """The URL of the SQLite ledger in a study's folder."""
    return sqlite_url(folder / "ledger.db")


def database_url(text: str) -> str:
    """A user's database URL with `~` expanded.

    Raises:
        ValueError: The URL has forbidden characters, or the text after a `?` is not an SQLite option.
    """
    check_characters(text)
    if not text.startswith(SQLITE):
        return text
    path, mark, options = text.removeprefix(SQLITE).partition("?")
    if mark:
        try:
            pairs = dict(parse_qsl(options, keep_blank_values=True, strict_parsing=True))
        except ValueError:
            pairs = {"": ""}
        if not (pairs.keys() <= OPTIONS or "uri" in pairs) or any("/" in value for value in pairs.values()):
            raise ValueError(
                f"{text}: a ? in a database URL starts its options; write a ? in a folder's name as %3F"
            )
    return f"{SQLITE}{expand(path)}{mark}{options}"


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for another database or an SQLite URI."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (ArgumentError, ValueError):
        return None
    if not url.startswith("sqlite") or parsed.database in (None, "", ":memory:") or "uri" in parsed.query:
        return None
    return Path(str(parsed.database))


def display_url(url: str) -> str:
    """A database's address for messages, without user and password; an SQLite file's path."""
    path = sqlite_file(url)
    if path is not None:
        return str(path)
    return re.sub(r"^postgresql\+psycopg://", "postgresql://", without_credentials(url))
