"""Addresses of databases: made of paths, taken from users, shown in messages."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

import sqlalchemy
from sqlalchemy.exc import ArgumentError

from lpstudy.environment import check_characters, expand
from lpstudy.redaction import without_credentials

SQLITE = "sqlite:///"
OPTIONS = {"uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
"""What SQLAlchemy takes after the `?` of an SQLite URL; more where one of them is `uri=true`."""


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file, whatever letters its path has: SQLAlchemy 2.1 decodes it."""
    return SQLITE + re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path)).replace("?", "%3F")


def ledger_file_url(folder: Path) -> str:
    """URL of the ledger in a study's folder."""
    return sqlite_url(folder / "ledger.db")


def database_url(text: str) -> str:
    """A database's URL as a user writes it, `~` expanded.

    Raises:
        ValueError: It has characters that no name may have, or what follows a `?` is no option of SQLite.
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
                f"{text}: a ? in a database's URL begins its options; one in a folder's name is written %3F"
            )
    return f"{SQLITE}{expand(path)}{mark}{options}"


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None where it is another database, or its own kind of URI."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (ArgumentError, ValueError):
        return None
    if not url.startswith("sqlite") or parsed.database in (None, "", ":memory:") or "uri" in parsed.query:
        return None
    return Path(str(parsed.database))


def display_url(url: str) -> str:
    """A database's address for messages: without user and password; of a file its path."""
    path = sqlite_file(url)
    if path is not None:
        return str(path)
    return re.sub(r"^postgresql\+psycopg://", "postgresql://", without_credentials(url))
