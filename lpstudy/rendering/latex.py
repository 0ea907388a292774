"""The comparison as a table for LaTeX."""

from collections.abc import Sequence

from markdown_it.token import Token

from lpstudy.rendering.page import comparison_cells, tokens_of

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line's end it would begin an argument
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "–": "--",
    "…": r"\ldots{}",
    "\u00a0": "~",
}
_TYPES = {"strong_open": r"\textbf{", "strong_close": "}"}


def latex_table(text: str) -> str:
    """The first table of a report's Markdown as a `tabular` with the rules of the package booktabs."""
    heads, *rows = comparison_cells(tokens_of(text))
    columns = "ll" + "r" * (len(heads) - 2)
    lines = [
        r"% needs \usepackage{booktabs} and a font encoding such as T1",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(heads),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[Token]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell: Token) -> str:
    return "".join(_piece(child) for child in cell.children or ())


def _piece(child: Token) -> str:
    words = "".join(_SPECIAL.get(letter, letter) for letter in child.content)
    return rf"\texttt{{{words}}}" if child.type == "code_inline" else _TYPES.get(child.type, words)
