"""`lpstudy watch NAME`: the report of a running study in a browser, from its ledger."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, errors_as_bad_input, exit_code_of
from lpstudy.command.live_page import LivePage
from lpstudy.command.page_server import PageServer
from lpstudy.space import import_files
from lpstudy.terminal import say, show

NICENESS = 10
"""By how much the command steps back behind the study's own processes."""


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser(
        "watch", "Show the report of a running study in a browser on this machine, from its ledger alone."
    )
    parser.add_argument("study", help="name of the study; it need not have started")
    flags.add_imports(parser)
    flags.add_storage(parser)
    parser.add_argument(
        "--port", type=flags.port, default=0, metavar="N", help="port on 127.0.0.1 (default: any free one)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("watch", lambda: _watch(args))


def _watch(args: Namespace) -> int:
    with errors_as_bad_input():
        import_files(args.imports)
        page = LivePage(args.storage, args.ledger, args.study)
        page.read()
        server = PageServer(args.port, page.current)
    os.nice(NICENESS)
    with server:
        show(f"page    {server.address}", "        for this machine alone; Ctrl-C ends it")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("lpstudy watch: ended; the study goes on")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
