"""`python -m lpstudy.status [NAME]`: the studies of a storage and how far each arm is."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from lpstudy.command import arguments as flags
from lpstudy.command.console import counts
from lpstudy.command.exits import DONE, ending, refusing
from lpstudy.ledger import Book, Kind, Record, database, stored

KINDS: tuple[Kind, ...] = ("trial", "final")
HEAD = (
    f"{'arm':<28} {'kind':<6} {'finished':>8} {'pruned':>6} {'failed':>6} {'running':>7} {'left':>5}  best %"
)


def parser() -> ArgumentParser:
    """The command's flags."""
    made = flags.parser("status", "Show the studies of a storage: per arm what is done and the best so far.")
    made.add_argument("study", nargs="?", help="one study (default: all)")
    flags.add_storage(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = parser().parse_args(argv)
    return ending("status", lambda: _status(given))


def _status(given: Namespace) -> int:
    with refusing():
        names = _names(given.storage)
        if given.study is not None and given.study not in names:
            have = ", ".join(names) or "none"
            raise ValueError(f"{given.storage} has no study {given.study!r}; it has {have}")
    if not names:
        print(f"no studies in {given.storage}")
    for name in [given.study] if given.study else names:
        _show(name, given.storage)
    return DONE


def _names(storage: Path) -> list[str]:
    """Folders of studies; one that --fresh has put aside is called NAME.old1."""
    return sorted(path.parent.name for path in storage.glob("*/ledger.db"))


def _show(name: str, storage: Path) -> None:
    try:
        book = stored(database(storage.resolve() / name), name.partition(".")[0])
    except ValueError as error:
        print(f"{name}: cannot be read: {error}\n")
        return
    records = [record for record in book.records() if record.state != "infeasible"]
    done = sum(record.state != "running" for record in records)
    state = "finished" if book.complete() else "unfinished"
    print(f"{name}: {state}, {done} of {book.wanted} runs\n{HEAD}")
    for arm in book.arms:
        for kind in KINDS:
            _show_line(book, arm, kind, [r for r in records if r.assignment.arm == arm])
    print()


def _show_line(book: Book, arm: str, kind: Kind, of_arm: list[Record]) -> None:
    mine = [record for record in of_arm if record.assignment.kind == kind]
    states = counts(mine)
    accuracies = [r.last["validation_accuracy"] for r in mine if r.state == "finished"]
    best = f"{max(accuracies):.2f}" if accuracies else "-"
    numbers = [states[s] for s in ("finished", "pruned", "failed", "running")]
    columns = " ".join(f"{n:>{w}}" for n, w in zip(numbers, (8, 6, 6, 7), strict=True))
    print(f"{arm:<28} {kind:<6} {columns} {_left(book, arm, kind, mine):>5}  {best}")


def _left(book: Book, arm: str, kind: Kind, mine: list[Record]) -> int:
    """How many runs are to come; finals of a trial that has been outdone since do not count."""
    if kind == "trial":
        return 0 if arm in book.exhausted else max(0, book.spec.budget.trials - len(mine))
    winner = book.winner(arm)
    if winner is None:
        return book.spec.budget.seeds
    of_winner = sum(record.assignment.number == winner.number for record in mine)
    return max(0, book.spec.budget.seeds - of_winner)


if __name__ == "__main__":
    sys.exit(main())
