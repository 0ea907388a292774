"""Text without the credentials that URLs in it carry, for whatever is shown, kept or sent on."""

import re

_SCHEME = r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]+:/{1,2})"
"""One slash too: a path that was given as a URL has lost the other."""
_USER = re.compile(rf"{_SCHEME}[^\s/?#'\"<>]*@")
_USER_WITH_SLASHES = re.compile(rf"{_SCHEME}[^\s/?#'\"<>@:\[\]]*:(?!\d{{1,5}}(?:[/?#]|$))[^\s'\"<>@]*@")
"""A password in which a slash was not written as %2F, as databases take it; a port is no password."""
_QUERY = re.compile(
    r"""(?P<key>[?&;](?:sig|[\w.%-]*(?:passw|pwd|secret|token|signature|credential|(?:api|access)[_-]?key)
    [\w.%-]*)=)[^\s&;\#'"<>]+""",
    re.IGNORECASE | re.VERBOSE,
)


def without_credentials(text: str) -> str:
    """The text with user and password removed from each URL in it, and `…` for secrets in their queries.

    `postgresql://me:secret@host/db` becomes `postgresql://host/db`, `s3://x?token=1` becomes `s3://x?token=…`.
    """
    text = _USER.sub(r"\g<scheme>", text)
    text = _USER_WITH_SLASHES.sub(r"\g<scheme>", text)
    return _QUERY.sub(r"\g<key>…", text)
