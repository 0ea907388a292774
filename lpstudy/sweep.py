"""`python -m lpstudy.sweep NAME`: run a study from its teacher to its report, or resume it."""

import shlex
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack

from lpstudy import terminal
from lpstudy.command import arguments as flags
from lpstudy.command.backends import make_backend, mention_job_folder
from lpstudy.command.exits import (
    FaultError,
    errors_as_bad_input,
    exit_code_of,
    leaving_at_signals,
)
from lpstudy.command.mlflow_client import connect_client
from lpstudy.command.phase_progress import (
    on_terminal,
)
from lpstudy.command.prepare import check_writable, prepare, resources_of
from lpstudy.command.study_ledgers import ledger_url, will_resume
from lpstudy.command.study_session import GRACE, StudySession
from lpstudy.command.sweep_phases import Sweep
from lpstudy.disk import is_storage_error, storage_error
from lpstudy.ledger import FencedError, UnwritableError
from lpstudy.redaction import without_credentials
from lpstudy.study import (
    PausedError,
)


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser("sweep", "Run a study, or resume it where it stopped.")
    flags.add_study(parser)
    flags.add_imports(parser)
    flags.add_storage(parser)
    flags.add_reports(parser)
    flags.add_resources(parser)
    parser.add_argument(
        "--in-process",
        action="store_true",
        help="train everything in this process, one run after the other, without Ray: for debuggers",
    )
    parser.add_argument(
        "--grace",
        type=flags.seconds,
        default=GRACE,
        metavar="SECONDS",
        help="time for trials to write a checkpoint after SIGTERM or Ctrl-C (default: 30)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start a new study; the old one is archived under another name"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    command = without_credentials(shlex.join(["python", "-m", "lpstudy.sweep", *argv]))
    return exit_code_of("sweep", lambda: run_study(args, command))


def run_study(args: Namespace, command: str) -> int:
    """Run the study of the flags, or resume it; returns the exit code.

    Args:
        args: The flags; `study` may also be a study's table.
        command: The command line that is part of the provenance.

    Raises:
        BadInputError: The input cannot be used; nothing was started.
        FaultError: The study stopped early.
    """
    started_at = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(leaving_at_signals())
        with errors_as_bad_input(lambda: will_resume(args)):
            ledger_url(args.storage, args.ledger)
            with on_terminal("loading the data"):
                prepared = prepare(args)
            backend = make_backend(args, resources_of(args, prepared))
            check_writable(args.storage)
            check_writable(args.reports)
            name = prepared.spec.name
            client = connect_client(args, name)
            with on_terminal("joining Ray" if backend.is_joined else "checking this machine"):
                backend.connect(stack)
            session = StudySession(args.storage.resolve() / name, args.ledger, name, fresh=args.fresh)
            session.use(backend)
            stack.enter_context(session.running())
        if session.previous_process is not None:
            terminal.say(f"resuming after {session.previous_process}, which stopped sending heartbeats")
        mention_job_folder(args)
        sweep = Sweep(args, command, prepared, backend, session, client, stack, started_at)
        try:
            return sweep.run()
        except (PausedError, UnwritableError, KeyboardInterrupt, SystemExit) as error:
            raise session.fault_of_pause(error) from error
        except FencedError as error:
            raise FaultError(str(error)) from error
        except Exception as error:  # of any kind: it may be how a failed backend shows
            if isinstance(error, OSError) and is_storage_error(error):
                raise session.fault_of_pause(storage_error(error)) from error
            if not backend.is_lost():
                raise
            raise session.fault_of_pause(error) from error


if __name__ == "__main__":
    sys.exit(main())
