"""`python -m lpstudy.report NAME`: rewrite a study's report from MLflow alone."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from lpstudy import tracking
from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.prepare import check_writable
from lpstudy.command.publish import print_report, publish


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser("report", "Rewrite a study's report from MLflow alone.")
    parser.add_argument("study", help="name of a study in MLflow")
    flags.add_reports(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("report", lambda: _report(args.study, args.reports))


def _report(study: str, reports: Path) -> int:
    with errors_as_bad_input():
        check_writable(reports)
        client = tracking.connect()
        tracking.find_experiment(client, study)
    try:
        print_report(publish(client, study, reports), study)
    except tracking.MLFLOW_ERRORS as error:
        raise FaultError(f"MLflow does not answer: {tracking.reason(error)}") from None
    return DONE


if __name__ == "__main__":
    sys.exit(main())
