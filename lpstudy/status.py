"""`python -m lpstudy.status [NAME]`: the studies of a storage and how far each arm is."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from lpstudy.command import arguments as flags
from lpstudy.command.console import counts
from lpstudy.command.exits import DONE, ending, refusing
from lpstudy.ledger import Book, database, stored

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
        books = [
            stored(database(given.storage.resolve() / name), name)
            for name in ([given.study] if given.study else names)
        ]
    if not books:
        print(f"no studies in {given.storage}")
    for book in books:
        _show(book)
    return DONE


def _names(storage: Path) -> list[str]:
    return sorted(path.parent.name for path in storage.glob("*/ledger.db"))


def _show(book: Book) -> None:
    records = book.records()
    done = sum(record.state not in ("running", "infeasible") for record in records)
    state = "finished" if book.complete() else "unfinished"
    print(f"{book.spec.name}: {state}, {done} of {book.wanted} runs\n{HEAD}")
    budget = {"trial": book.spec.budget.trials, "final": book.spec.budget.seeds}
    for arm in book.arms:
        for kind in ("trial", "final"):
            mine = [r for r in records if r.assignment.arm == arm and r.assignment.kind == kind]
            states = counts(mine)
            accuracies = [r.last["validation_accuracy"] for r in mine if r.state == "finished"]
            best = f"{max(accuracies):.2f}" if accuracies else "-"
            numbers = [states[s] for s in ("finished", "pruned", "failed", "running")]
            left = max(0, budget[kind] - sum(numbers))
            columns = " ".join(f"{n:>{w}}" for n, w in zip(numbers, (8, 6, 6, 7), strict=True))
            print(f"{arm:<28} {kind:<6} {columns} {left:>5}  {best}")
    print()


if __name__ == "__main__":
    sys.exit(main())
