"""The console script: `lpstudy sweep | plan | report | ...`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module

from lpstudy.terminal import say, show

COMMANDS = {
    "sweep": "run a study, or resume it",
    "plan": "show what a study would do, and its cost",
    "report": "write a study's report from MLflow",
    "compare": "compare methods over several studies, from MLflow",
    "watch": "show the report of a running study in a browser, from its ledger",
    "deploy": "write a study's best student as files that run elsewhere",
    "list": "list the studies in a storage folder",
    "status": "show the progress of each arm",
    "pause": "write checkpoints and pause a running study",
    "resume": "resume a paused study",
    "stop": "finish the running trials, then stop",
    "cancel": "end the running trials at once, as failed",
    "reconcile": "compare MLflow with the ledger and repair it",
    "export": "write runs and epochs as Parquet or CSV",
    "schema": "print the JSON schema of a study file",
}
MODULES = {"list": "status"} | dict.fromkeys(("pause", "resume", "stop", "cancel"), "operate")
"""The module of each command that shares one; every other command has a module of its own name."""
SLOW = ("sweep", "plan", "report", "compare", "watch", "deploy", "reconcile")
"""Commands whose imports take several seconds."""
USAGE = f"usage: lpstudy {{{','.join(COMMANDS)}}} ...   (each has --help)"


def main() -> int:
    """Pass the remaining arguments to one command; returns its exit code."""
    args = sys.argv[1:]
    if args and args[0] in ("-h", "--help"):
        show(USAGE, *(f"  {name:<10} {description}" for name, description in COMMANDS.items()))
        return 0
    if not args or args[0] not in COMMANDS:
        problem = f": unknown command {args[0]!r}" if args else ""
        say(f"lpstudy{problem}; {USAGE}")
        return 2
    command = args[0]
    with _shown_while_importing(command):
        run = import_module(f"lpstudy.{MODULES.get(command, command)}").main
    code: int = (partial(run, command=command) if command in MODULES else run)(args[1:])
    return code


@contextmanager
def _shown_while_importing(command: str) -> Iterator[None]:
    """Show on a terminal that a slow command is starting."""
    if command not in SLOW or not sys.stderr.isatty():
        yield
        return
    say(f"lpstudy {command}: starting ...", end="")
    try:
        yield
    finally:
        say("", before="\r\x1b[K", end="")


if __name__ == "__main__":
    sys.exit(main())
