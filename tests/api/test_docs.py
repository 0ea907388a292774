"""The lines of Python in README and docs call what the package has."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator

import pytest
from commands import ROOT

import lpstudy

PAGES = ("README.md", "docs/python.md", "docs/deploy.md")
OBJECTS = {"lpstudy": lpstudy, "study": lpstudy.Study, "classifier": lpstudy.Classifier}
"""The names of the pages; those of objects stand for their class."""


def calls(page: str) -> Iterator[ast.Call]:
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        yield from (node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call))


def called(node: ast.Call) -> Callable[..., object] | None:
    """What a call on one of OBJECTS calls; None for other calls."""
    match node.func:
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in OBJECTS:
            return getattr(OBJECTS[name], attribute)
        case ast.Attribute(value=ast.Call() as inner, attr=attribute) if called(inner) is lpstudy.Study:
            return getattr(lpstudy.Study, attribute)
    return None


@pytest.mark.parametrize("page", PAGES)
def test_each_call_fits_its_signature(page: str) -> None:
    checked = 0
    for node in calls(page):
        function = called(node)
        if function is None:
            continue
        signature = inspect.signature(function)
        is_method = next(iter(signature.parameters), "") == "self"
        arguments = [None] * (len(node.args) + is_method)
        signature.bind(*arguments, **{keyword.arg or "": None for keyword in node.keywords})
        checked += 1
    assert checked >= 2
