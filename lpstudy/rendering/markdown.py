"""Markdown in which foreign strings stay text: a template escapes whatever is not `Markdown` already."""

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from lpstudy.tables.text import public_text

_ACTIVE = re.compile(r"([\\`*_\[\]|~$#])")
_STARTS_A_BLOCK = re.compile(r"^(?:([-+](?=[\s-]|$)|=)|(\d+)([.)])(?=\s|$))")
_WEB_NAME = re.compile(r"\b(www)\.", re.IGNORECASE)
_FIT_FOR_CODE = re.compile(r"[\w .,:;/=+(){}…×%'\"-]+")
_BACKTICKS = re.compile(r"`+")


class Markdown(str):
    """Text that is Markdown on purpose."""

    __slots__ = ()


def escape(text: object) -> Markdown:
    """The text as it is, whatever it holds: on one line, no markup, HTML, link, folder or credentials."""
    if isinstance(text, Markdown):
        return text
    plain = public_text(str(text))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = _ACTIVE.sub(r"\\\1", plain)
    plain = _STARTS_A_BLOCK.sub(lambda match: f"{match[2] or ''}\\{match[1] or match[3]}", plain)
    return Markdown(_WEB_NAME.sub(r"\1&#46;", plain.replace("://", "&#58;//")))


def code(text: object) -> Markdown:
    """The text in code type; merely escaped where it holds what could end it or break a table."""
    plain = public_text(str(text))
    return Markdown(f"`{plain}`") if _FIT_FOR_CODE.fullmatch(plain) else escape(plain)


def block(text: str) -> Markdown:
    """The text on one line in a fenced block whose fence it cannot end."""
    plain = public_text(text)
    longest = max((len(run) for run in _BACKTICKS.findall(plain)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}\n{plain}\n{fence}")


def link(words: str, address: str) -> Markdown:
    """A link, or the words in code type where the address is not one of the web."""
    if not address.startswith(("http://", "https://")):
        return code(words)
    return Markdown(f"[{escape(words)}]({quote(address, safe=':/?#&=%+,;@~')})")


def join(pieces: Iterable[object], separator: str = " ") -> Markdown:
    """The pieces, each escaped, with the separator between them."""
    return Markdown(separator.join(escape(piece) for piece in pieces))


def bold(text: object) -> Markdown:
    """The text, escaped, in bold type."""
    return Markdown(f"**{escape(text)}**")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, left_aligned: int = 1) -> Markdown:
    """A table; the first `left_aligned` columns are texts, the others numbers, aligned to the right.

    Numbers keep their units: blanks in their columns do not break.
    """
    lines = [
        f"| {join(heads, ' | ')} |",
        "|" + "|".join(":---" if column < left_aligned else "---:" for column in range(len(heads))) + "|",
    ]
    for row in rows:
        cells = [escape(cell) for cell in row]
        cells[left_aligned:] = [Markdown(cell.replace(" ", "\u00a0")) for cell in cells[left_aligned:]]
        lines.append(f"| {join(cells, ' | ')} |")
    return Markdown("\n".join(lines))


def render(template: str, **values: object) -> str:
    """The package's template with the values; strings among them that are not `Markdown` are escaped."""
    environment = Environment(
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # of HTML; `escape` does that and more
    )
    source = resources.files("lpstudy.rendering").joinpath(template).read_text("utf-8")
    return environment.from_string(source).render(values)
