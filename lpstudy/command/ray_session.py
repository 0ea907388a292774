"""The Ray session of a sweep: a cluster joined before the lease is acquired, or a Ray that it starts."""

import os
from argparse import Namespace
from contextlib import ExitStack

from lpstudy import study, terminal, tracking
from lpstudy.command.exits import errors_as_bad_input, exit_code_of
from lpstudy.command.phases import on_terminal, with_announcement
from lpstudy.command.study_session import StudySession
from lpstudy.data import shared_cache
from lpstudy.study import TrialResources


def enter_session(stack: ExitStack, resources: TrialResources) -> None:
    """Join the cluster at RAY_ADDRESS or start Ray; the session ends with the stack.

    Raises:
        BadInputError: Ray cannot be reached or started, or not even one trial fits.
    """
    phase = (
        with_announcement("starting Ray") if study.cluster_address() is None else on_terminal("joining Ray")
    )
    with errors_as_bad_input(), phase:
        stack.enter_context(study.ray_session(lambda error: exit_code_of("sweep", lambda: _refuse(error))))
        study.concurrent_trials(resources, study.machines())


def _refuse(error: BaseException) -> int:
    with errors_as_bad_input():
        raise error


def watch_ray(stack: ExitStack, session: StudySession) -> None:
    """Start watching Ray, and check that its nodes share the study's folders.

    Raises:
        BadInputError: The nodes do not share the folders.
    """
    watch = stack.enter_context(study.watching(session.control))
    session.ray_lost = watch.is_lost
    folders = {"--storage": session.control.folder, "LPSTUDY_CACHE": shared_cache().resolve()}
    with errors_as_bad_input():
        study.check_shared(folders)


def mention_job_folder(args: Namespace) -> None:
    """Print a note in a Ray job, whose working directory is deleted with the job."""
    is_default_uri = tracking.tracking_uri() == tracking.DEFAULT_URI
    is_absolute = args.reports.is_absolute() and args.storage == args.storage.resolve()
    if study.JOB in os.environ and (is_default_uri or not is_absolute):
        terminal.say(
            "note: a Ray job runs in a temporary copy of the folder; to keep its results, give absolute"
            " --storage and --reports and set MLFLOW_TRACKING_URI"
        )
