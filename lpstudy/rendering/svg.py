"""Figures as SVG: as files of their own, and as elements of a page."""

import io
import re

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

from lpstudy.figures.hover import MARK, SEPARATOR

_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_MARKED = re.compile(rf'<g id="{MARK}([^"]*)">((?:(?!<g id=).)*)', re.DOTALL)
_SYMBOL = re.compile(r"<(use) ([^>]*)/>")
_SHAPE = re.compile(r"<(path) ([^>]*)/>")
_COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_NAMESPACE = re.compile(r' xmlns(?::xlink)?="[^"]*"')
_NAME = re.compile(r'(\bid="|href="#|url\(#)')
_SIZE = re.compile(r' width="[^"]*" height="[^"]*"')


def svg(figure: Figure) -> str:
    """The figure as an SVG document; the same figure gives the same text."""
    buffer = io.StringIO()
    # Names of elements come from what they draw, not from chance; texts are drawn, so that every reader sees
    # the layout that was tested.
    with rc_context({"svg.hashsalt": "lpstudy", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    return _MARKED.sub(_with_titles, buffer.getvalue())


def _with_titles(group: re.Match[str]) -> str:
    """A group whose symbols have their words as titles, which viewers show where one points."""
    words = iter(group[1].split(SEPARATOR))

    def titled(symbol: re.Match[str]) -> str:
        text = next(words, "")
        name, attributes = symbol.groups()
        return f"<{name} {attributes}><title>{text}</title></{name}>" if text else symbol[0]

    # Symbols of one shape are uses of it; where each has its own they are paths.
    pattern = _SYMBOL if "<use " in group[2] else _SHAPE
    return f"<g>{pattern.sub(titled, group[2])}"


def inline_svg(document: str, name: str, words: str) -> Markup:
    """The document as an element of a page, as wide as its place.

    Args:
        document: An SVG document that `svg` gave.
        name: What the names of its elements begin with, so that those of two figures differ.
        words: What a screen reader says instead of it.
    """
    element = document[document.index("<svg") :]
    for pattern, text in ((_COMMENT, ""), (_STYLE, ""), (_NAMESPACE, ""), (_NAME, rf"\g<1>{name}-")):
        element = pattern.sub(text, element)
    element = _SIZE.sub("", element, count=1).replace("xlink:href", "href").strip()
    return Markup(element.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1))


def interval_svg(mean: float, bounds: tuple[float, float] | None, scale: tuple[float, float]) -> Markup:
    """A mean as a dot and its interval as a bar, with a line at zero where the scale holds it.

    Args:
        mean: The mean.
        bounds: The interval's ends; None where there is none.
        scale: The values at the left and the right edge, which the rows of a column share.
    """
    low, high = scale

    def place(value: float) -> str:
        return f"{4 + 112 * (value - low) / (high - low):.1f}"

    pieces = []
    if low <= 0 <= high:
        pieces.append(f'<path class="zero" d="M{place(0)} 0V12"/>')
    if bounds is not None:
        pieces.append(f'<path class="reach" d="M{place(bounds[0])} 6H{place(bounds[1])}"/>')
    pieces.append(f'<circle cx="{place(mean)}" cy="6" r="3.2"/>')
    return Markup(f'<svg class="interval" viewBox="0 0 120 12" aria-hidden="true">{"".join(pieces)}</svg>')
