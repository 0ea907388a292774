"""The backend of a sweep: this process alone, a cluster that is joined, or a Ray on this machine."""

import os
from argparse import Namespace

from lpstudy import environment, terminal, tracking
from lpstudy.command.exits import errors_as_bad_input, exit_code_of
from lpstudy.study import Backend, InProcess, TrialResources


def make_backend(args: Namespace, resources: TrialResources) -> Backend:
    """The backend that the flags choose.

    Raises:
        ValueError: The resources are more than it has, or RAY_ADDRESS is not an address.
    """
    if args.in_process:
        return InProcess(resources)
    from lpstudy.ray_cluster.ray_backend import RayBackend  # imports Ray, which takes seconds

    return RayBackend(resources, lambda error: exit_code_of("sweep", lambda: _refuse(error)))


def _refuse(error: BaseException) -> int:
    with errors_as_bad_input():
        raise error


def mention_job_folder(args: Namespace) -> None:
    """Print a note in a Ray job, whose working directory is deleted with the job."""
    is_default_uri = tracking.tracking_uri() == tracking.DEFAULT_URI
    is_absolute = args.reports.is_absolute() and args.storage == args.storage.resolve()
    if environment.JOB in os.environ and (is_default_uri or not is_absolute):
        terminal.say(
            "note: a Ray job runs in a temporary copy of the folder; to keep its results, give absolute"
            " --storage and --reports and set MLFLOW_TRACKING_URI"
        )
