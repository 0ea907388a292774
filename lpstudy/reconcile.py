"""`lpstudy reconcile NAME`: compare MLflow with the ledger and repair what differs."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from lpstudy import ledger, tracking
from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, MLFLOW_BEHIND, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.study_ledgers import existing_study, ledger_engine, ledger_name
from lpstudy.disk import StorageError
from lpstudy.ledger import Lease, LedgerReader, read_ledger
from lpstudy.space import import_files
from lpstudy.students import check_code
from lpstudy.terminal import show, show_json
from lpstudy.tracking import Difference, StudyMetadata

WRITE_SECONDS = 600.0
"""How long writing to MLflow may take."""
MAX_SHOWN = 10


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser(
        "reconcile",
        "Compare MLflow's runs, seeds, states, final metrics, files and arms' figures with the ledger; repair"
        " MLflow.",
    )
    parser.add_argument("study", help="name of the study")
    flags.add_imports(parser)
    flags.add_storage(parser)
    parser.add_argument("--check", action="store_true", help="compare only; exit code 74 where they differ")
    flags.add_json(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("reconcile", lambda: _reconcile(args))


def _reconcile(args: Namespace) -> int:
    with errors_as_bad_input():
        import_files(args.imports)
        name = existing_study(args.storage, args.ledger, args.study)
        folder = args.storage.resolve() / name
        engine = ledger_engine(folder, args.ledger)
        stored_name = ledger_name(name, args.ledger)
        reader = read_ledger(engine, stored_name)
        for arm in reader.arms.values():
            check_code(arm.student.family, arm.student.design)
        runs = folder / "runs"
        client = tracking.connect()
        if args.check:
            return _print_differences(args, reader, tracking.compare(reader, client, runs), mended=False)
        tracking.check_files(client, stored_name)
        if ledger.is_study_running(engine, stored_name):
            raise ValueError(f"study {name!r} is running: its process keeps MLflow up to date (see --check)")
        facts = _facts(reader)
        lease = Lease(engine, stored_name)
        lease.acquire()
    try:
        reader = read_ledger(engine, stored_name)
        before = tracking.compare(reader, client, runs)
        error = tracking.repair(reader, client, facts, runs, seconds=WRITE_SECONDS)
        remaining = tracking.compare(reader, client, runs)
    except (*tracking.MLFLOW_ERRORS, OSError) as failure:
        if isinstance(failure, StorageError):
            raise
        raise FaultError(f"MLflow could not be updated: {tracking.reason(failure)}", MLFLOW_BEHIND) from None
    finally:
        lease.release({"state": "finished" if reader.is_complete() else "unfinished"})
    if error is not None or remaining:
        raise FaultError(
            f"MLflow could not be updated: {error or f'{len(remaining)} runs still differ'}", MLFLOW_BEHIND
        )
    return _print_differences(args, reader, before, mended=True)


def _facts(reader: LedgerReader) -> StudyMetadata:
    missing = [name for name in ("data", "teacher", "provenance") if name not in reader.facts]
    if missing:
        raise ValueError(f"study {reader.spec.name!r} has no {missing[0]} yet: run its sweep first")
    return tracking.study_metadata(reader)


def _print_differences(
    args: Namespace, reader: LedgerReader, differences: list[Difference], *, mended: bool
) -> int:
    runs = sum(record.state != "infeasible" for record in reader.records())
    if args.json:
        items = [{"run": one.key, "what": one.what} for one in differences]
        show_json({"study": args.study, "runs": runs, "mended": mended, "differences": items})
    else:
        for one in differences[:MAX_SHOWN]:
            show(f"{one.key} {one.what}")
        if len(differences) > MAX_SHOWN:
            show(f"... and {len(differences) - MAX_SHOWN} more")
        after = ", all rewritten" if mended and differences else ""
        show(f"{runs} runs in the ledger, {len(differences)} differ in MLflow{after}")
    return DONE if mended or not differences else MLFLOW_BEHIND


if __name__ == "__main__":
    sys.exit(main())
