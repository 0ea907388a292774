"""`python -m lpstudy.report NAME`: write a study's report anew, from MLflow alone."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from lpstudy import tracking
from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.prepare import writable
from lpstudy.command.publish import publish, show


def parser() -> ArgumentParser:
    """The command's flags."""
    made = flags.parser("report", "Write a study's report anew, from MLflow alone.")
    made.add_argument("study", help="name of a study that MLflow has")
    flags.add_reports(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("report", lambda: _report(args.study, args.reports))


def _report(study: str, reports: Path) -> int:
    with errors_as_bad_input():
        writable(reports)
        client = tracking.connect()
        tracking.find_experiment(client, study)
    try:
        show(publish(client, study, reports), study)
    except tracking.MLFLOW_ERRORS as error:
        raise FaultError(f"MLflow does not answer: {tracking.reason(error)}") from None
    return DONE


if __name__ == "__main__":
    sys.exit(main())
