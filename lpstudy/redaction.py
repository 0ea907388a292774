"""What must not be shown: user and password in URLs."""

import re

_CREDENTIALS = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#'\"]*@")


def without_credentials(text: str) -> str:
    """The text with user and password taken out of every URL in it."""
    return _CREDENTIALS.sub(r"\g<scheme>", text)
