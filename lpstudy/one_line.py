"""A message of another library in one line."""


def one_line(message: object, limit: int | None = None) -> str:
    """The message with each run of white space as one space, cut to `limit` characters.

    An error without a message gives the name of its type.
    """
    return (" ".join(str(message).split()) or _type_name(message))[:limit]


def first_line(message: object, limit: int | None = None) -> str:
    """The message's first line with text, cut to `limit` characters; an error without one gives its type."""
    return (_lines(message) or [_type_name(message)])[0][:limit]


def last_line(message: object, limit: int | None = None) -> str:
    """The message's last line with text, cut to `limit` characters; an error without one gives its type."""
    return (_lines(message) or [_type_name(message)])[-1][:limit]


def _lines(message: object) -> list[str]:
    return [line.strip() for line in str(message).splitlines() if line.strip()]


def _type_name(message: object) -> str:
    return type(message).__name__ if isinstance(message, BaseException) else ""
