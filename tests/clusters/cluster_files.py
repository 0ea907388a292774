"""The files of clusters/, their header comments, and changed copies of them."""

import copy
import re
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from commands import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray Serve, which Ray's commands bring along
    from ray.scripts.scripts import cli

FOLDER = ROOT / "clusters"
MOUNT = "/mnt/lpstudy"
"""The path of the shared folder on every node."""

RAY = cli.commands
"""The command line interface of `ray`."""

Change = Callable[[Any], object]
"""A function that makes one mistake in a file's content."""

SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b[0-9a-f]{32,}\b"
    r"|RAY_AUTH_TOKEN=|auth_token:"
    r"|://[^/\s:@]+:[^/\s@$]+@"
    r"|(?i:password|secret_key)\s*[=:]\s*['\"]?[^\s'\"${/(?]"
)
"""Patterns of keys, tokens and passwords, but not of variables, paths and commands."""


def document(name: str) -> Any:
    """The content of a YAML file."""
    return yaml.safe_load((FOLDER / name).read_text())


def text(name: str) -> str:
    """The text of a file."""
    return (FOLDER / name).read_text()


def header(name: str) -> str:
    """The comment at the top of a file, without its signs."""
    lines = text(name).splitlines()
    lines = lines[1:] if lines[0].startswith("#!") else lines
    head: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(head)


def changed(read: Any, change: Change) -> Any:
    """A copy with one mistake."""
    copied = copy.deepcopy(read)
    change(copied)
    return copied


def pinned(name: str) -> str:
    """The version of a package in constraints.txt."""
    match = re.search(rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert match, name
    return str(match[1])


def is_pinned(image: str) -> bool:
    """Whether an image's tag starts with a version of three numbers, or the image has a digest."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@sha256:" in image or re.match(r"v?\d+\.\d+(\.\d+)?(-|$)", tag) is not None


def sweep_words(line: str) -> list[str]:
    """The arguments of `python -m lpstudy.sweep` in a command."""
    command = line.partition("python -m lpstudy.sweep ")[2]
    assert command, line
    return shlex.split(command, comments=True)


def below_mount(path: str | Path) -> bool:
    """Whether a path lies in the shared folder."""
    return Path(path).is_relative_to(MOUNT)
