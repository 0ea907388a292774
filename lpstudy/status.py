"""`lpstudy status [NAME]` and `lpstudy list`: the studies in a storage folder and their progress."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, FAULT, errors_as_bad_input, exit_code_of
from lpstudy.command.overview import STATES, UNREADABLE, ArmOverview, read_overview
from lpstudy.command.study_ledgers import existing_study, studies
from lpstudy.terminal import printable, show, show_json

HEAD = (
    f"{'arm':<28} {'kind':<9} {'finished':>8} {'pruned':>6} {'failed':>6} {'running':>7} {'left':>5}  best %"
)
WIDTHS = (8, 6, 6, 7)


def parser(command: str = "status") -> ArgumentParser:
    """The command's flags."""
    if command == "list":
        parser = flags.parser("list", "List the studies in a storage folder, one line each.")
        parser.set_defaults(study=None)
    else:
        parser = flags.parser(
            "status", "Show the studies in a storage folder: each arm's progress and best accuracy."
        )
        parser.add_argument("study", nargs="?", help="one study (default: all)")
    flags.add_storage(parser)
    flags.add_json(parser)
    return parser


def main(argv: Sequence[str] | None = None, command: str = "status") -> int:
    """Run the command; returns the exit code."""
    args = parser(command).parse_args(argv)
    return exit_code_of(command, lambda: _show(args, command))


def _show(args: Namespace, command: str) -> int:
    with errors_as_bad_input():
        if args.study is not None:
            names = [existing_study(args.storage, args.ledger, args.study)]
        else:
            names = studies(args.storage, args.ledger)
    overviews = [read_overview(args.storage, args.ledger, name) for name in names]
    code = FAULT if any(one.state == UNREADABLE for one in overviews) else DONE
    if args.json:
        rows = [one.to_json() for one in overviews]
        show_json(rows if args.study is None else rows[0], indent=1)
        return code
    if not overviews:
        show(f"no studies in {'the ledger' if args.ledger else args.storage}")
    for one in overviews:
        show(f"{one.study}: {one.summary()}")
        if command == "status" and one.arms:
            show(HEAD)
            for arm in one.arms:
                _show_arm(arm)
            show(*[f"note: {note}" for note in one.notes], "")
    return code


def _show_arm(arm: ArmOverview) -> None:
    columns = " ".join(f"{arm.states[state]:>{w}}" for state, w in zip(STATES, WIDTHS, strict=True))
    best = f"{arm.best:.2f}" if arm.best is not None else "-"
    show(f"{printable(arm.arm):<28} {arm.kind:<9} {columns} {arm.remaining:>5}  {best}")


if __name__ == "__main__":
    sys.exit(main())
