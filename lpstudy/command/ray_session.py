"""The Ray session of a sweep: started or joined, and whether its nodes see one storage."""

import os
from contextlib import ExitStack

from lpstudy import study
from lpstudy.command.exits import refusing
from lpstudy.command.phases import announced, on_terminal
from lpstudy.command.tenure import Tenure
from lpstudy.data import shared_cache
from lpstudy.study import Demand


def enter_session(stack: ExitStack, demand: Demand) -> None:
    """Start Ray, or join the cluster that RAY_ADDRESS names, until the stack is left.

    Raises:
        BadInputError: There is no such cluster, or not one trial fits.
    """
    phase = on_terminal("joining Ray") if os.environ.get("RAY_ADDRESS") else announced("starting Ray")
    with refusing(), phase:
        stack.enter_context(study.session())
        study.concurrent_trials(demand, study.machines())


def check_folders(tenure: Tenure) -> None:
    """See that all nodes find the study's folder and the cache.

    Raises:
        BadInputError: One does not.
    """
    folders = {"--storage": tenure.control.folder, "LPSTUDY_CACHE": shared_cache().resolve()}
    with refusing():
        study.check_shared(folders)
