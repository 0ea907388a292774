"""The driver's adapters to Ray Tune: a Searcher, a Scheduler and a Stopper."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Stopper
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from lpstudy.ledger import Done, Waiting
from lpstudy.one_line import last_line
from lpstudy.ray_cluster.actors import from_report
from lpstudy.study.control import StudyControl
from lpstudy.study.driver import MAX_RESTARTS, Decision, Driver
from lpstudy.study.run_end import describe_death
from lpstudy.study.run_job import RunJob


@dataclass(frozen=True, slots=True)
class TuneLauncher:
    """The Tune function and its config with which the driver's runs are launched."""

    function: Any
    """The Tune function with its resources."""
    config: Callable[[RunJob], dict[str, Any]]
    """Returns the function's config for a run."""
    capacity: Callable[[], int]
    """Returns how many runs fit on the cluster now."""
    reuse_actors: bool
    """Whether the next run reuses a run's process; not where each run has its own Ray Train workers."""


def run_tune(driver: Driver, launcher: TuneLauncher, folder: Path) -> None:
    """Train the driver's runs with Tune until it is done or its request changes.

    Args:
        driver: The driver.
        launcher: Launches each run.
        folder: Tune's own state; an absolute path.
    """
    searcher = DriverSearcher(driver, launcher)
    tuner = tune.Tuner(
        launcher.function,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=DriverScheduler(driver, searcher),
            num_samples=-1,
            reuse_actors=launcher.reuse_actors,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            stop=DeadlineStopper(driver.control),
            verbose=0,
        ),
    )
    tuner.fit()


class _Stateless:
    """A component whose state Tune need not store: its snapshot is never restored."""

    def __getstate__(self) -> dict[str, Any]:
        """An empty state."""
        return {}


class DriverSearcher(_Stateless, Searcher):
    """A Tune Searcher that suggests the driver's next run.

    Args:
        driver: The driver.
        launcher: Gives each run's config, and how many runs fit.
    """

    def __init__(self, driver: Driver, launcher: TuneLauncher) -> None:
        super().__init__(metric="epoch", mode="max")
        self._driver, self._launcher = driver, launcher
        self.keys: dict[str, str] = {}
        """The run's key of each of Tune's trials."""

    def suggest(self, trial_id: str) -> Any:
        """The next run's config; None while others must end first; FINISHED if no run is left."""
        match self._driver.next(at_most=self._launcher.capacity()):
            case Done():
                return str(Searcher.FINISHED)
            case Waiting():
                return None
            case job:
                self.keys[trial_id] = job.key
                return self._launcher.config(job)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report a run that was removed before it started; the scheduler reports all other ends first."""
        self._driver.on_removed(self.keys[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is durable."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is durable."""


class DriverScheduler(_Stateless, FIFOScheduler):
    """A Tune scheduler that passes every report, end and loss to the driver.

    Args:
        driver: The driver.
        searcher: Maps Tune's trials to the driver's runs.
    """

    _supports_buffered_results = False

    def __init__(self, driver: Driver, searcher: DriverSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Ray
        self._driver, self._searcher = driver, searcher

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Pass the report on; the driver decides whether the trial stops."""
        key = self._searcher.keys[trial.trial_id]
        decision = self._driver.on_report(key, *from_report(result))
        self._set_max_failures(trial, key)
        stops = decision is Decision.STOP
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Pass the end on."""
        self._driver.on_end(self._searcher.keys[trial.trial_id])

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Pass the loss of the run's process on; Tune has decided by then whether it restarts the run."""
        key = self._searcher.keys[trial.trial_id]
        if trial.status == TuneTrial.ERROR:  # so it is while Tune restarts it
            self._driver.on_lost(key, _cause(trial))
            self._set_max_failures(trial, key)
        else:
            self._driver.on_failed(key, _cause(trial))

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Do nothing: the searcher reports the removal."""

    def _set_max_failures(self, trial: TuneTrial, key: str) -> None:
        """Have Tune restart the run as often as the driver would."""
        trial.max_failures = trial.num_failures + self._driver.restarts_remaining(key)


class DeadlineStopper(_Stateless, Stopper):
    """A Tune stopper that ends all trials once they are cancelled or overdue with their checkpoint."""

    def __init__(self, control: StudyControl) -> None:
        self._control = control

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        """Never stop a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether Tune must stop all trials; Tune calls it regularly."""
        return self._control.request == "cancel" or (
            self._control.request == "pause" and self._control.is_overdue()
        )


def _cause(trial: TuneTrial) -> str:
    """The last line of the error that Tune recorded, at most 300 characters."""
    path = trial.error_file
    if path is None or not Path(path).is_file():
        return "its process died"
    line = last_line(Path(path).read_text(errors="replace"), 300)
    return describe_death(line) if line else "its process died"
