"""`lpstudy export NAME`: write a study's ledger as two tables, one of runs and one of epochs."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, errors_as_bad_input, exit_code_of
from lpstudy.command.prepare import check_writable
from lpstudy.command.study_ledgers import existing_study, ledger_engine, ledger_name
from lpstudy.cost import cost_of
from lpstudy.ledger import Assignment, LedgerReader, read_ledger
from lpstudy.space import import_files
from lpstudy.students import check_code
from lpstudy.tables.text import hyperparameters_json, spreadsheet_safe
from lpstudy.terminal import show, show_json


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser("export", "Write a study's runs and their epochs as Parquet or CSV.")
    parser.add_argument("study", help="name of the study")
    flags.add_imports(parser)
    flags.add_storage(parser)
    parser.add_argument("--to", type=flags.path, help="folder (default: ./exports/NAME)")
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    flags.add_json(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("export", lambda: _export(args))


def _export(args: Namespace) -> int:
    folder = args.to or Path("exports") / args.study
    with errors_as_bad_input():
        import_files(args.imports)
        name = existing_study(args.storage, args.ledger, args.study)
        reader = read_ledger(ledger_engine(args.storage / name, args.ledger), ledger_name(name, args.ledger))
        for arm in reader.arms.values():
            check_code(arm.student.family, arm.student.design)
        check_writable(folder)
        frames = {"runs": runs(reader), "epochs": epochs(reader)}
        paths = {kind: folder / f"{kind}.{args.format}" for kind in frames}
        for kind, frame in frames.items():
            if args.format == "parquet":
                frame.to_parquet(paths[kind], index=False)
            else:
                spreadsheet_safe(frame).to_csv(paths[kind], index=False)
    if args.json:
        tables = {kind: {"file": str(paths[kind]), "rows": len(frames[kind])} for kind in frames}
        show_json({"study": name, **tables})
    else:
        for kind, frame in frames.items():
            show(f"{paths[kind]}: {len(frame)} rows")
    return DONE


def runs(reader: LedgerReader) -> pd.DataFrame:
    """A table with a row for each run: its settings, its end and the metrics of its last epoch."""
    rows = [
        {
            "study": reader.spec.name,
            "arm": record.assignment.arm,
            **_settings(reader, record.assignment),
            "kind": record.assignment.kind,
            "trial": record.assignment.number,
            "seed": record.assignment.seed,
            "attempt": record.assignment.attempt,
            "state": record.state,
            "cause": record.cause or "",
            "epochs": len(record.epochs),
            "hyperparameters": hyperparameters_json(record.assignment.values),
            "started": pd.Timestamp(record.started, unit="s", tz="UTC") if record.started else None,
            "ended": pd.Timestamp(record.ended, unit="s", tz="UTC") if record.ended else None,
            **record.last,
        }
        for record in reader.records()
    ]
    return pd.DataFrame(rows)


def _settings(reader: LedgerReader, assignment: Assignment) -> dict[str, object]:
    """A run's method, network, cost and fixed hyperparameters, known even if it failed at once."""
    arm = reader.arms[assignment.arm]
    student = arm.student_spec(assignment.values)
    size = cost_of(student, input_shape=reader.input_shape, classes=reader.classes)
    return {
        "method": arm.method,
        "student": student.label(),
        "depth": student.depth,
        "width": student.width,
        "parameters": size.parameters,
        "macs": size.macs,
        "fixed_hyperparameters": hyperparameters_json(arm.fixed),
    }


def epochs(reader: LedgerReader) -> pd.DataFrame:
    """A table with a row for each epoch of each run, with all its metrics."""
    rows = [
        {
            "run": record.assignment.key,
            "epoch": epoch.epoch,
            "warnings": "; ".join(epoch.warnings),
            **epoch.metrics,
        }
        for record in reader.records()
        for epoch in record.epochs
    ]
    return pd.DataFrame(rows, columns=None if rows else ["run", "epoch", "warnings"])


if __name__ == "__main__":
    sys.exit(main())
