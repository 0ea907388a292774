"""Restart of commands under `python -OO` or PYTHONOPTIMIZE=2: Ray cannot be imported without docstrings."""

import os
import re
import sys

LEVEL_WITH_DOCSTRINGS = "1"
"""The level of optimization that removes assertions but not docstrings."""


def restart() -> None:
    """Restart this command with docstrings; return if this process is no command of lpstudy.

    The process keeps its number, its files and its environment except PYTHONOPTIMIZE.

    Source: `_insert_doc_at_pattern` in ray/data/_internal/util.py, Ray 2.60.
    """
    words = sys.orig_argv
    if sys.argv[0] == "-m":
        first = words.index("-m")
        is_ours = len(words) > first + 1 and words[first + 1].split(".")[0] == "lpstudy"
    else:
        first = next((i for i, word in enumerate(words) if i and not word.startswith("-")), len(words))
        is_ours = os.path.basename(sys.argv[0]) == "lpstudy"
    if is_ours:
        flags = [
            re.sub("O+", "", word) if re.fullmatch("-[A-Za-z]+", word) else word for word in words[1:first]
        ]
        flags = [word for word in flags if word != "-"]
        environment = os.environ | {"PYTHONOPTIMIZE": LEVEL_WITH_DOCSTRINGS}
        os.execve(sys.executable, [sys.executable, *flags, *words[first:]], environment)
