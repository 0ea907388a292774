"""`lpstudy reconcile NAME`: compare MLflow with the ledger and repair what differs."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from lpstudy import ledger, tracking
from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, MLFLOW_BEHIND, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.overview import engine_of, existing_study, ledger_name
from lpstudy.disk import StorageError
from lpstudy.ledger import Lease, LedgerReader, read_ledger
from lpstudy.terminal import show, show_json
from lpstudy.tracking import Difference, StudyMetadata

SECONDS = 600.0
"""How long writing to MLflow may take."""
SHOWN = 10


def parser() -> ArgumentParser:
    """The command's flags."""
    made = flags.parser(
        "reconcile",
        "Compare MLflow's runs, seeds, states, final metrics and files with the ledger; repair MLflow.",
    )
    made.add_argument("study", help="name of the study")
    flags.add_storage(made)
    made.add_argument("--check", action="store_true", help="compare only; exit code 74 where they differ")
    flags.add_json(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("reconcile", lambda: _reconcile(args))


def _reconcile(args: Namespace) -> int:
    with errors_as_bad_input():
        name = existing_study(args.storage, args.ledger, args.study)
        folder = args.storage.resolve() / name
        engine = engine_of(folder, args.ledger)
        own = ledger_name(name, args.ledger)
        book = read_ledger(engine, own)
        runs = folder / "runs"
        client = tracking.connect()
        if args.check:
            return _tell(args, book, tracking.compare(book, client, runs), mended=False)
        tracking.check_files(client, own)
        if ledger.is_study_running(engine, own):
            raise ValueError(f"study {name!r} is running: its process keeps MLflow up to date (see --check)")
        facts = _facts(book)
        lease = Lease(engine, own)
        lease.acquire()
    try:
        book = read_ledger(engine, own)
        before = tracking.compare(book, client, runs)
        error = tracking.repair(book, client, facts, runs, seconds=SECONDS)
        left = tracking.compare(book, client, runs)
    except (*tracking.MLFLOW_ERRORS, OSError) as failure:
        if isinstance(failure, StorageError):
            raise
        raise FaultError(f"MLflow could not be updated: {tracking.reason(failure)}", MLFLOW_BEHIND) from None
    finally:
        lease.release({"state": "finished" if book.is_complete() else "unfinished"})
    if error is not None or left:
        raise FaultError(
            f"MLflow could not be updated: {error or f'{len(left)} runs still differ'}", MLFLOW_BEHIND
        )
    return _tell(args, book, before, mended=True)


def _facts(book: LedgerReader) -> StudyMetadata:
    kept = book.facts
    missing = [name for name in ("data", "teacher", "provenance") if name not in kept]
    if missing:
        raise ValueError(f"study {book.spec.name!r} has no {missing[0]} yet: run its sweep first")
    return StudyMetadata(ledger.dump(book.spec), kept["data"], kept["teacher"], kept["provenance"])


def _tell(args: Namespace, book: LedgerReader, found: list[Difference], *, mended: bool) -> int:
    runs = sum(record.state != "infeasible" for record in book.records())
    if args.json:
        differences = [{"run": one.key, "what": one.what} for one in found]
        show_json({"study": args.study, "runs": runs, "mended": mended, "differences": differences})
    else:
        for one in found[:SHOWN]:
            show(f"{one.key} {one.what}")
        if len(found) > SHOWN:
            show(f"... and {len(found) - SHOWN} more")
        after = ", all rewritten" if mended and found else ""
        show(f"{runs} runs in the ledger, {len(found)} differ in MLflow{after}")
    return DONE if mended or not found else MLFLOW_BEHIND


if __name__ == "__main__":
    sys.exit(main())
