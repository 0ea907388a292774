"""Ray as a sweep has it: joined before the study is held, or started by the sweep."""

from contextlib import ExitStack

from lpstudy import study
from lpstudy.command.exits import ending, refusing
from lpstudy.command.phases import announced, on_terminal
from lpstudy.command.tenure import Tenure
from lpstudy.data import shared_cache
from lpstudy.study import Demand


def enter_session(stack: ExitStack, demand: Demand) -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray; ends with the stack.

    Raises:
        BadInputError: It cannot be reached or started, or not even one trial fits.
    """
    phase = announced("starting Ray") if study.cluster_address() is None else on_terminal("joining Ray")
    with refusing(), phase:
        stack.enter_context(study.session(lambda error: ending("sweep", lambda: _refuse(error))))
        study.concurrent_trials(demand, study.machines())


def _refuse(error: BaseException) -> int:
    with refusing():
        raise error


def watch_ray(stack: ExitStack, tenure: Tenure) -> None:
    """Watch Ray from now on, and see that its nodes share the study's folders.

    Raises:
        BadInputError: They do not.
    """
    watch = stack.enter_context(study.watching(tenure.control))
    tenure.ray_lost = watch.is_lost
    folders = {"--storage": tenure.control.folder, "LPSTUDY_CACHE": shared_cache().resolve()}
    with refusing():
        study.check_shared(folders)
