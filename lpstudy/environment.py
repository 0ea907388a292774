"""Environment variables, and names of folders as a user writes them: read, expanded, checked here alone."""

import os
import re
import unicodedata
from pathlib import Path

CACHE, LOCAL, DATA = "LPSTUDY_CACHE", "LPSTUDY_LOCAL", "LPSTUDY_DATA"
DEFAULTS = {CACHE: "~/.cache/lpstudy/cache", LOCAL: "~/.cache/lpstudy/local", DATA: "~/.cache/lpstudy"}
TRACKING, THREADS = "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS"
NUMBERS = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")
"""Variables of MLflow's client that it reads as whole numbers, and fails on with a traceback."""
RAY_PATHS = ("RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR")
"""Paths that Ray takes as they are written."""
_NAME = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)
_THREADS = re.compile(r"\s*\+?0*[1-9]\d{0,5}\s*(,\s*\+?0*[1-9]\d{0,5}\s*)*", re.ASCII)
_LONGEST = 200
"""Characters of a value that a refusal quotes."""


def variable(name: str) -> str | None:
    """The value of a variable; None where it is not set, empty or blank."""
    return os.environ.get(name, "").strip() or None


def expand(text: str) -> str:
    """A path or URL with a `~`, `~user`, `$NAME` or `${NAME}` that it begins with replaced.

    Raises:
        ValueError: There is no such user or variable.
    """
    if text.startswith("~"):
        home = os.path.expanduser(text)
        if home.startswith("~"):
            raise ValueError(f"{text}: there is no such user; write ./{text} for a folder of this name")
        return home
    match = _NAME.match(text)
    return text if match is None else _value_of(match, text) + text[match.end() :]


def location(name: str) -> str:
    """The path or URL that a variable holds, each `$NAME` in it expanded; its default where it is not set.

    A shell has done that already; a file of variables, of systemd or a container say, has not.

    Raises:
        ValueError: It names a user or variable that there is not, or has characters that no name may have.
    """
    text = variable(name)
    if text is None:
        return expand(DEFAULTS.get(name, ""))
    try:
        text = _NAME.sub(lambda match: _value_of(match, match.string), text)
        return check_characters(expand(text))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def check_characters(text: str) -> str:
    """The text, where it may name a folder, a file or a database.

    Raises:
        ValueError: It is empty, has control characters or ends of lines, or is not valid text.
    """
    if not text.strip():
        raise ValueError("must name a folder but is empty")
    shown = text.encode("unicode_escape").decode()[:_LONGEST]
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text):
        raise ValueError(f"{shown}: a name cannot contain line ends or other control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{shown}: the name is not valid UTF-8, or this locale cannot encode it") from None
    return text


def tracking_uri_variable() -> str | None:
    """`MLFLOW_TRACKING_URI`; a file that it names with a `~` is expanded. None where it is not set.

    Raises:
        ValueError: See `expand`.
    """
    text = variable(TRACKING)
    if text is None:
        return None
    try:
        check_characters(text)
        if text.startswith("sqlite:///"):
            return "sqlite:///" + expand(text.removeprefix("sqlite:///"))
        return expand(text)
    except ValueError as error:
        raise ValueError(f"{TRACKING}: {error}") from None


def threads() -> int | None:
    """Threads of the outermost level that `OMP_NUM_THREADS` asks for; None where it is not set.

    Raises:
        ValueError: It is neither a whole number from 1 on nor a list of them.

    Source: OpenMP 5.2, section 21.1.2: a list has one number for each level of nested regions.
    """
    text = variable(THREADS)
    if text is None:
        return None
    if not _THREADS.fullmatch(text):
        raise ValueError(
            f"{THREADS}: must be a whole number of at least 1, or several separated by commas, but is"
            f" {text[:_LONGEST]!r}"
        )
    return int(text.split(",")[0])


def check_variables() -> None:
    """Refuse variables that cannot be used, before anything is started.

    Raises:
        ValueError: The first of them, in one line.
    """
    threads()
    tracking_uri_variable()
    for name in (*DEFAULTS, *RAY_PATHS):
        location(name)
    for name in NUMBERS:
        text = variable(name)
        if text is not None and not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            raise ValueError(f"{name}: must be a whole number of at least 0 but is {text[:_LONGEST]!r}")


def normalize_variables() -> None:
    """Let this process, what it starts and the libraries in it see the variables as they are read here.

    What is empty is removed: libraries take an empty value for one. Paths become absolute, for other
    processes have other working directories.

    Raises:
        ValueError: See `check_variables`.
    """
    check_variables()
    for name in (*DEFAULTS, *RAY_PATHS, TRACKING, THREADS, *NUMBERS, "RAY_ADDRESS"):
        if name in os.environ and variable(name) is None:
            del os.environ[name]
    uri = tracking_uri_variable()
    if uri is not None:
        os.environ[TRACKING] = uri
    for name in (*DEFAULTS, *RAY_PATHS):
        if name in os.environ:
            text = location(name)
            os.environ[name] = text if "://" in text else str(Path(text).absolute())


def _value_of(match: re.Match[str], text: str) -> str:
    name = match[1] or match[2]
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"{text[:_LONGEST]}: the variable {name} is not set")
    return value
