"""Environment variables and folder names from the user: the only place that reads and checks them."""

import os
import re
import unicodedata
from pathlib import Path

CACHE, LOCAL, DATA = "LPSTUDY_CACHE", "LPSTUDY_LOCAL", "LPSTUDY_DATA"
DEFAULTS = {CACHE: "~/.cache/lpstudy/cache", LOCAL: "~/.cache/lpstudy/local", DATA: "~/.cache/lpstudy"}
TRACKING, THREADS = "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS"
NUMBERS = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")
"""Variables that MLflow's client reads as whole numbers; it fails on others with a traceback."""
RAY_PATHS = ("RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR")
"""Variables whose paths Ray uses unexpanded."""
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Variable with a job's configuration, set in a process that `ray job submit` started."""
_NAME = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)
_THREADS = re.compile(r"\s*\+?0*[1-9]\d{0,5}\s*(,\s*\+?0*[1-9]\d{0,5}\s*)*", re.ASCII)
_LONGEST = 200
"""Maximum number of characters of a value that an error message quotes."""


def variable(name: str) -> str | None:
    """The value of a variable; None if it is unset, empty or blank."""
    return os.environ.get(name, "").strip() or None


def expand(text: str) -> str:
    """Expand a leading `~`, `~user`, `$NAME` or `${NAME}` in a path or URL.

    Raises:
        ValueError: The user or variable does not exist.
    """
    if text.startswith("~"):
        home = os.path.expanduser(text)
        if home.startswith("~"):
            raise ValueError(f"{text}: there is no such user; write ./{text} for a folder of this name")
        return home
    match = _NAME.match(text)
    return text if match is None else _value_of(match, text) + text[match.end() :]


def location(name: str) -> str:
    """The path or URL in a variable, with each `$NAME` in it expanded; its default if it is unset.

    A shell expands names itself; a file of variables, for systemd or a container, does not.

    Raises:
        ValueError: A user or variable in it does not exist, or it contains characters that no name may have.
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
    """The text, if it may name a folder, file or database.

    Raises:
        ValueError: It is empty, contains control characters or line ends, or is not valid text.
    """
    if not text.strip():
        raise ValueError("must name a folder but is empty")
    escaped = text.encode("unicode_escape").decode()[:_LONGEST]
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text):
        raise ValueError(f"{escaped}: a name cannot contain line ends or other control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{escaped}: the name is not valid UTF-8, or this locale cannot encode it") from None
    return text


def tracking_uri_variable() -> str | None:
    """`MLFLOW_TRACKING_URI` with a leading `~` of a file expanded; None if it is unset.

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
    """The number of threads of the outermost level in `OMP_NUM_THREADS`; None if it is unset.

    Raises:
        ValueError: It is neither a whole number of at least 1 nor a list of such numbers.

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
    """Check all variables before anything starts.

    Raises:
        ValueError: The first variable that cannot be used, in one line.
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
    """Normalize the variables, so that libraries and child processes read the same values.

    Empty variables are removed, because libraries take an empty value for a setting. Paths become absolute,
    because other processes have other working directories.

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
