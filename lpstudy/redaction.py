"""Removal of credentials in URLs from text that is shown, stored or sent."""

import re

_SCHEME = r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]+:/{1,2})"
"""A URL's scheme; one slash suffices, because `Path` removes the other."""
_USER = re.compile(rf"{_SCHEME}[^\s/?#'\"<>]*@")
_USER_WITH_SLASHES = re.compile(rf"{_SCHEME}[^\s/?#'\"<>@:\[\]]*:(?!\d{{1,5}}(?:[/?#]|$))[^\s'\"<>@]*@")
"""A password with a slash that is not written as %2F, which databases accept; a port is no password."""
_QUERY = re.compile(
    r"""(?P<key>[?&;](?:sig|[\w.%-]*(?:passw|pwd|secret|token|signature|credential|(?:api|access)[_-]?key)
    [\w.%-]*)=)[^\s&;\#'"<>]+""",
    re.IGNORECASE | re.VERBOSE,
)


def without_credentials(text: str) -> str:
    """The text with the user and password of each URL removed, and secrets in queries replaced by `…`.

    `postgresql://me:secret@host/db` becomes `postgresql://host/db`, `s3://x?token=1` becomes `s3://x?token=…`.
    """
    text = _USER.sub(r"\g<scheme>", text)
    text = _USER_WITH_SLASHES.sub(r"\g<scheme>", text)
    return _QUERY.sub(r"\g<key>…", text)
