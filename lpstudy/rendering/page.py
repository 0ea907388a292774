"""The report as one page of HTML, from its Markdown and the figures."""

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import resources

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from lpstudy.rendering import cell_text
from lpstudy.rendering.svg import inline_svg, interval_svg
from lpstudy.tables.text import public_text

INTERVALS = {"test accuracy % (n)": "accuracy", "Δ bp": "delta_bp"}
"""Heads of the comparison's columns that have intervals, and the columns' names in comparison.csv."""
_NUMBER = re.compile(r"([+−-]?)(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?:[\s\u00a0]([KMGTP])\b)?", re.IGNORECASE)
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_FIGURE = re.compile(r"figures/(\w+)\.png")


def tokens_of(text: str) -> list[Token]:
    """The tokens of a report's Markdown; HTML in it stays text."""
    return _parser().parse(text)


def page(
    text: str, name: str, comparison: pd.DataFrame, figures: Mapping[str, str], live: str | None = None
) -> str:
    """The report as a page that loads nothing: style, script and figures are within it.

    Its policy allows no script but its own and no request, of a live page none but for itself, so that a name
    that were markup could do nothing.

    Args:
        text: The report's Markdown.
        name: The study's name.
        comparison: The table of `tables.comparison`, whose intervals are drawn in the table's cells.
        figures: The figures that the text shows, as SVG documents, by name.
        live: The state of a running study, whose page asks for its next version again and again; its files
            are no links. None: the page of a report.
    """
    tokens = tokens_of(text)
    sections = list(_sections(tokens))
    _mark_tables(tokens)
    if len(comparison):
        _draw_intervals(tokens, comparison)
    if live is not None:
        _unlink_files(tokens)
    parser = _parser()
    script = _source("report.js") + ("" if live is None else _source("live.js"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_source("report.html.j2")).render(
        title=public_text(name),
        live=None if live is None else public_text(live),
        sections=sections,
        style=Markup(_source("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        body=Markup(parser.renderer.render([*_with_frames(tokens, figures)], parser.options, {})),
    )


def number_of(cell: str) -> float | None:
    """The number that a cell's text begins with: 249600 for "249.6 K", 88.42 for "88.42 ± 0.26 (5)"."""
    found = _NUMBER.match(cell)
    if found is None:
        return None
    sign, digits, unit = found.groups(default="")
    value = float(digits.replace(",", "")) * _UNITS[unit.upper()]
    return -value if sign in ("−", "-") else value


def words_of(inline: Token) -> str:
    """The text of a cell or heading without its markup."""
    return "".join(child.content for child in inline.children or ())


def comparison_cells(tokens: Sequence[Token]) -> list[list[Token]]:
    """The cells of the first table, row by row, its heads first."""
    start = next(place for place, token in enumerate(tokens) if token.type == "table_open")
    end = next(place for place in range(start, len(tokens)) if tokens[place].type == "table_close")
    rows: list[list[Token]] = []
    for token in tokens[start:end]:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(token)
    return rows


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _source(name: str) -> str:
    return resources.files("lpstudy.rendering").joinpath(name).read_text("utf-8")


def _sections(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """Give each heading of the second level a name within the page; the names and the headings' words."""
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            words = words_of(tokens[place + 1])
            name = re.sub(r"\W+", "-", words.lower()).strip("-")
            token.attrSet("id", name)
            yield name, words


def _mark_tables(tokens: list[Token]) -> None:
    """Give heads their scope and cells of numbers the value that they are sorted by."""
    title, column, is_head, head = "", 0, False, tokens[0]
    for place, token in enumerate(tokens):
        match token.type:
            case "heading_open":
                title = words_of(tokens[place + 1])
            case "table_open":
                token.attrSet("aria-label", title)
            case "tr_open":
                column = 0
            case "thead_open":
                is_head, head = True, token
                head.attrSet("hidden", "")  # until one of its cells has words
            case "tbody_open":
                is_head = False
            case "th_open" | "td_open":
                is_number = token.attrs.pop("style", "") == "text-align:right"
                if is_number:
                    token.attrSet("class", "number")
                if is_head:
                    token.attrSet("scope", "col")
                    if words_of(tokens[place + 1]):
                        head.attrs.pop("hidden", None)
                elif column == 0:
                    token.tag = "th"
                    token.attrSet("scope", "row")
                value = number_of(words_of(tokens[place + 1])) if is_number and not is_head else None
                if value is not None:
                    token.attrSet("data-value", f"{value:.10g}")
            case "td_close":
                token.tag = "th" if column == 0 else "td"
                column += 1


def _draw_intervals(tokens: Sequence[Token], comparison: pd.DataFrame) -> None:
    """Add a drawn interval to the comparison's cells that have one."""
    heads, *rows = comparison_cells(tokens)
    for column, head in enumerate(heads):
        name = INTERVALS.get(words_of(head))
        if name is None:
            continue
        values = [cell_text.interval_of(row, name) for _, row in comparison.iterrows()]
        ends = [end for value in values for end in (value.mean, value.low, value.high) if math.isfinite(end)]
        if name == "delta_bp":
            ends.append(0.0)
        draw = partial(interval_svg, scale=(min(ends), max(ends))) if len({*ends}) > 1 else None
        for value, cells in zip(values, rows, strict=True):
            if draw is not None and value.n:
                bounds = (value.low, value.high) if value.n > 1 else None
                _append(cells[column], draw(value.mean, bounds))


def _unlink_files(tokens: Sequence[Token]) -> None:
    """Leave of a link to a file its words."""
    for token in tokens:
        inside_file = False
        words: list[Token] = []
        for child in token.children or ():
            if child.type == "link_open":
                inside_file = ":" not in str(child.attrs["href"])
            if not (inside_file and child.type in ("link_open", "link_close")):
                words.append(child)
        if token.children:
            token.children = words


def _append(cell: Token, html: Markup) -> None:
    cell.children = [*(cell.children or ()), Token("html_inline", "", 0, content=f" {html}")]


def _with_frames(tokens: Sequence[Token], figures: Mapping[str, str]) -> Iterator[Token]:
    """The tokens with each figure in the place of its image, and each table in a region that scrolls."""
    rest = iter(tokens)
    for token in rest:
        match token.type:
            case "table_open":
                label = escape(token.attrs["aria-label"])
                yield _html(f'<div class="table" role="region" tabindex="0" aria-label="{label}">\n')
                yield token
            case "table_close":
                yield token
                yield _html("</div>\n")
            case "paragraph_open":
                inline, close = next(rest), next(rest)
                figure = _figure(inline, figures)
                yield from (token, inline, close) if figure is None else (_html(figure),)
            case _:
                yield token


def _figure(inline: Token, figures: Mapping[str, str]) -> str | None:
    """The figure that a paragraph shows; None of a paragraph of text."""
    images = [child for child in inline.children or () if child.type == "image"]
    found = _FIGURE.fullmatch(str(images[0].attrs["src"])) if images else None
    if found is None:
        return None
    words = images[0].content
    drawn = inline_svg(figures[found[1]], found[1], words)
    return f"<figure>\n{drawn}\n<figcaption>{escape(words)}</figcaption>\n</figure>\n"


def _html(content: str) -> Token:
    return Token("html_block", "", 0, content=content)
