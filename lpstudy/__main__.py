"""The console script: `lpstudy sweep | plan | report | ...`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module

from lpstudy.terminal import say, show

COMMANDS = {
    "sweep": "run a study, or go on where it stopped",
    "plan": "what a study will do, cost and need",
    "report": "write a study's report from MLflow",
    "list": "the studies of a storage",
    "status": "how far each arm is",
    "pause": "let trials write a checkpoint and wait",
    "resume": "go on after a pause",
    "stop": "end when the running trials have ended",
    "cancel": "end running trials now",
    "reconcile": "hold MLflow against the ledger and mend it",
    "export": "runs and epochs as Parquet or CSV",
    "schema": "the keys of a study file, for editors",
}
MODULES = {"list": "status"} | dict.fromkeys(("pause", "resume", "stop", "cancel"), "operate")
"""Of commands that share one; all others have their own name's."""
SLOW = ("sweep", "plan", "report", "reconcile")
"""Commands whose imports take seconds."""
USAGE = f"usage: lpstudy {{{','.join(COMMANDS)}}} ...   (each has --help)"


def main() -> int:
    """Hand the rest of the line to one command; returns its exit code."""
    words = sys.argv[1:]
    if words and words[0] in ("-h", "--help"):
        show(USAGE, *(f"  {name:<10} {does}" for name, does in COMMANDS.items()))
        return 0
    if not words or words[0] not in COMMANDS:
        args = f": unknown command {words[0]!r}" if words else ""
        say(f"lpstudy{args}; {USAGE}")
        return 2
    command = words[0]
    with _announced(command):
        run = import_module(f"lpstudy.{MODULES.get(command, command)}").main
    code: int = (partial(run, command=command) if command in MODULES else run)(words[1:])
    return code


@contextmanager
def _announced(command: str) -> Iterator[None]:
    """Show on a terminal that something happens: the imports of a sweep take seconds."""
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
