"""The console script: `lpstudy sweep | plan | report | status`."""

import sys
from importlib import import_module

COMMANDS = ("sweep", "plan", "report", "status")
USAGE = f"usage: lpstudy {{{','.join(COMMANDS)}}} ...   (each has --help)"


def main() -> int:
    """Hand the rest of the line to one command; returns its exit code."""
    words = sys.argv[1:]
    if words and words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if not words or words[0] not in COMMANDS:
        given = f": unknown command {words[0]!r}" if words else ""
        print(f"lpstudy{given}; {USAGE}", file=sys.stderr)
        return 2
    code: int = import_module(f"lpstudy.{words[0]}").main(words[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
