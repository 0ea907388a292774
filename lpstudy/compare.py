"""`lpstudy compare STUDY STUDY ...`: methods over several studies, from MLflow alone."""

import hashlib
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from lpstudy import tracking
from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.prepare import check_writable
from lpstudy.command.publish import read_stored
from lpstudy.disk import write_atomically
from lpstudy.rendering.across_studies import comparison_text, console_lines
from lpstudy.tables import spreadsheet_safe
from lpstudy.tables.across_studies import block_table, blocks_of, method_table, ranking
from lpstudy.terminal import show

FOLDER = "compare"
"""The folder of comparisons below that of the reports."""
LONGEST_NAME = 120
"""Characters of a folder's name, beyond which the names of studies are cut."""


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser(
        "compare", "Compare methods over studies: wins, ties, losses and mean ranks, from MLflow alone."
    )
    parser.add_argument("studies", nargs="+", metavar="study", help="names of studies in MLflow")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="methods to rank (default: those that every study has)",
    )
    flags.add_reports(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("compare", lambda: _compare(args.studies, args.methods, args.reports))


def _compare(studies: Sequence[str], methods: Sequence[str] | None, reports: Path) -> int:
    with errors_as_bad_input():
        _check_once("study", studies)
        _check_once("method", methods or ())
        check_writable(reports)
        client = tracking.connect()
        for study in studies:
            tracking.find_experiment(client, study)
    try:
        results = [read_stored(client, study).results for study in studies]
    except tracking.MLFLOW_ERRORS as error:
        raise FaultError(f"MLflow does not answer: {tracking.reason(error)}") from None
    blocks = blocks_of(results)
    with errors_as_bad_input():
        ranked = ranking(blocks, methods)
    folder = reports / FOLDER / folder_name(studies)
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"methods.csv": method_table(blocks, ranked), "blocks.csv": block_table(blocks, ranked)}
    for name, frame in tables.items():
        text = spreadsheet_safe(frame).to_csv(index=False, lineterminator="\n", float_format="%.10g")
        write_atomically(folder / name, text.encode("utf-8"))
    page = folder / "compare.md"
    write_atomically(page, comparison_text(blocks, ranked).encode("utf-8", "replace"))
    show(*console_lines(blocks, ranked), "", f"report  {page}")
    return DONE


def folder_name(studies: Sequence[str]) -> str:
    """The names of the studies joined by +; a long one is cut and ends in a hash of all of it."""
    name = "+".join(studies)
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _check_once(kind: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{kind} {name!r} is given twice")


if __name__ == "__main__":
    sys.exit(main())
