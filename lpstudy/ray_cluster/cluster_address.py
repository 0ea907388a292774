"""The variable RAY_ADDRESS: the Ray cluster that a sweep joins instead of starting Ray itself."""

import re
from urllib.parse import urlsplit

from lpstudy import environment
from lpstudy.redaction import without_credentials

VARIABLE = "RAY_ADDRESS"
ALLOWED = (
    "give HOST:PORT of the cluster's head (port 6379 by default), auto for the one that `ray start` has"
    " started on this machine, or unset it to run on this machine alone"
)
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.%\w]+\]|[\w.-]+):(\d{1,5})", re.ASCII)
_LONGEST = 100
"""Maximum number of characters of a value that an error message quotes."""


def cluster_address() -> str | None:
    """HOST:PORT of the head of the cluster that RAY_ADDRESS names; None: Ray is started on this machine.

    The cluster itself is not contacted.

    Raises:
        ValueError: The value is not an address; the message says what is allowed.
    """
    text = environment.variable(VARIABLE)
    if text is None or text == "local":
        return None
    if text == "auto":
        return _started_here()
    match = _ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise ValueError(f"{VARIABLE}={_shown(text)}: {_why(text)}: {ALLOWED}")
    return text


def _started_here() -> str:
    """The address that the last `ray start` recorded; another sweep's own Ray does not count."""
    from lpstudy.ray_cluster.ray_patches import started_address  # imports Ray, which `plan` does not need

    text = started_address()
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{VARIABLE}=auto: `ray start` has not started Ray on this machine: {ALLOWED}")
    return text


def _why(text: str) -> str:
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme in ("http", "https"):
        return "this is the address of a dashboard, which `ray job submit` wants"
    if scheme == "ray":
        return "Ray Client cannot run a sweep, which must run on a machine of the cluster (`ray job submit`)"
    if text.count(":") > 1 and re.fullmatch(r"[0-9a-fA-F:.]+", text):
        return "write an IPv6 address in brackets, [::1]:6379"
    return "this is not the address of a head"


def _shown(text: str) -> str:
    return without_credentials(text)[:_LONGEST]
