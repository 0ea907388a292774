"""The ledger's adapters to Tune: a Searcher that hands out runs, a Scheduler that records their reports."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from lpstudy.ledger import Assignment, Done, FencedError, Ledger, State, UnwritableError, Waiting
from lpstudy.one_line import last_line
from lpstudy.study.control import FAULT_SECONDS, DeadlineStopper, StudyControl
from lpstudy.study.failures import PAUSED, STORAGE, UNREACHABLE, describe_death
from lpstudy.study.restarting_task import MAX_RESTARTS
from lpstudy.study.trial import as_results

Observer = Callable[[Assignment], None]
"""A function called after a run has changed in the ledger."""


@dataclass(frozen=True, slots=True)
class TuneLauncher:
    """The Tune function, config and limits with which the ledger's runs are launched."""

    function: Any
    """The Tune function with its resources."""
    config: Callable[[Assignment], dict[str, Any]]
    """Returns the function's config for a run."""
    concurrent: Callable[[], int]
    """Returns how many runs fit on the cluster now."""
    newest_checkpoint: Callable[[Assignment], str]
    """Returns the name of a run's newest checkpoint; a greater name shows progress."""
    on_workers: bool
    """Whether each run has its own Ray Train workers. Such a run ends itself when it must end early, because
    killed workers may keep their share of the cluster. Otherwise the next run reuses the same process."""


def run_tune(
    ledger: Ledger,
    launcher: TuneLauncher,
    folder: Path,
    *,
    searching: Callable[[], bool],
    observer: Observer,
    control: StudyControl,
) -> None:
    """Run the ledger's runs with Tune; returns when none is left or the request changes.

    Args:
        ledger: The study.
        launcher: Launches each run.
        folder: Tune's own state; an absolute path.
        searching: Returns False once no new trial may start.
        observer: Called after every change of a run, in this thread.
        control: The study's current request.

    Raises:
        UnwritableError: The ledger cannot be written; later reports are in the trials' checkpoints.
        FencedError: Another process has taken the study over.
    """
    searcher = LedgerSearcher(ledger, launcher, searching, control)
    tuner = tune.Tuner(
        launcher.function,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=LedgerScheduler(ledger, searcher, observer, control, launcher),
            num_samples=-1,
            reuse_actors=not launcher.on_workers,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            stop=DeadlineStopper(control),
            verbose=0,
        ),
    )
    tuner.fit()
    if control.fault is not None:
        raise control.fault


@contextmanager
def _pausing(control: StudyControl) -> Iterator[None]:
    """A context in which an unwritable ledger pauses the study; Tune would take it for the trial's fault."""
    try:
        yield
    except (UnwritableError, FencedError) as error:
        control.fail(error, seconds=FAULT_SECONDS if isinstance(error, UnwritableError) else 0.0)


class LedgerSearcher(Searcher):
    """A Tune Searcher that suggests the ledger's next run.

    Args:
        ledger: The study.
        launcher: Gives each run's config, and how many runs fit.
        searching: Returns False once no new trial may start.
        control: The study's current request.
    """

    def __init__(
        self, ledger: Ledger, launcher: TuneLauncher, searching: Callable[[], bool], control: StudyControl
    ) -> None:
        super().__init__(metric="epoch", mode="max")
        self._ledger, self._launcher, self._searching = ledger, launcher, searching
        self._control = control
        self.assignments: dict[str, Assignment] = {}
        self._live_trials: set[str] = set()
        control.live_trials = 0
        self.on_give_up: Callable[[str], None] = lambda trial_id: None
        """Called for a run that is not restarted."""

    def suggest(self, trial_id: str) -> Any:
        """The next run's config; None while others must end first; FINISHED if no run is left."""
        if self._control.request != "run":
            return str(Searcher.FINISHED)
        if len(self._live_trials) >= self._launcher.concurrent():
            return None
        with _pausing(self._control):
            match self._ledger.next(searching=self._searching()):
                case Done():
                    return str(Searcher.FINISHED)
                case Waiting():
                    return None
                case assignment:
                    self.assignments[trial_id] = assignment
                    self._live_trials.add(trial_id)
                    self._control.live_trials = len(self._live_trials)
                    return self._launcher.config(assignment)
        return str(Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report that a run has failed for good; Tune tells the scheduler of all other ends."""
        self._live_trials.discard(trial_id)
        self._control.live_trials = len(self._live_trials)
        if error:
            self.on_give_up(trial_id)

    def __getstate__(self) -> dict[str, Any]:
        """An empty state: Tune's snapshot is never restored."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is durable."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is durable."""


class LedgerScheduler(FIFOScheduler):
    """A Tune scheduler that records every report, stops pruned trials and announces each end once.

    Args:
        ledger: The study.
        searcher: Maps Tune's trials to the ledger's runs.
        observer: Called after every change; for an end, once the run's processes write nothing more.
        control: The study's current request; ends single runs.
        launcher: Gives a run's newest checkpoint, and whether it has its own workers.
    """

    _supports_buffered_results = False

    def __init__(
        self,
        ledger: Ledger,
        searcher: LedgerSearcher,
        observer: Observer,
        control: StudyControl,
        launcher: TuneLauncher,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Ray
        self._ledger, self._searcher, self._observer = ledger, searcher, observer
        self._control, self._launcher = control, launcher
        self._causes: dict[str, str] = {}
        self._paused_trials: set[str] = set()
        self._dismissed_trials: set[str] = set()
        self._pruned_trials: set[str] = set()
        self._announced_ends: set[str] = set()
        self._newest_epochs: dict[str, int] = {}
        self._newest_checkpoints: dict[str, str] = {}
        searcher.on_give_up = self._give_up

    def __getstate__(self) -> dict[str, Any]:
        """An empty state: Tune's snapshot is never restored."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Record the epochs; stop the trial if it is pruned, has failed or is paused."""
        if trial.trial_id in self._dismissed_trials:
            return str(TrialScheduler.CONTINUE)
        if self._control.fault is None:
            with _pausing(self._control):
                if self._should_continue(trial, result):
                    return str(TrialScheduler.CONTINUE)
                if self._launcher.on_workers:
                    self._dismissed_trials.add(trial.trial_id)
                    self._control.end_run(self._assignment(trial).key)
                    return str(TrialScheduler.CONTINUE)
                self._announce_end(trial.trial_id)
                return str(TrialScheduler.STOP)
        self._paused_trials.add(trial.trial_id)  # the ledger lacks this report, its checkpoint has it
        return str(TrialScheduler.STOP)

    def _should_continue(self, trial: TuneTrial, result: dict[str, Any]) -> bool:
        assignment = self._assignment(trial)
        end = result["end"]
        pruned = self._ledger.report(assignment, as_results(result))
        if pruned and self._launcher.on_workers:  # they train until they read the control file
            self._pruned_trials.add(trial.trial_id)
            self._control.end_run(assignment.key)
        elif pruned:
            self._end(assignment, "pruned")
            return False
        if end == PAUSED and trial.trial_id in self._pruned_trials:
            self._end(assignment, "pruned")
            return False
        if end.startswith(STORAGE):
            error = UnwritableError(end, needs_repair=not end.startswith(UNREACHABLE))
            self._control.fail(error, seconds=FAULT_SECONDS)
        if end == PAUSED or end.startswith(STORAGE):
            self._paused_trials.add(trial.trial_id)
            return False
        if end:
            self._end(assignment, "failed", end)
            return False
        if result["epoch"] > self._newest_epochs.get(trial.trial_id, 0):
            self._newest_epochs[trial.trial_id] = result["epoch"]
            trial.max_failures = trial.num_failures + MAX_RESTARTS  # failures in a row: it has made progress
        self._observer(assignment)
        return True

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Record the end of a run that ended by itself."""
        with _pausing(self._control):
            if trial.trial_id not in self._paused_trials:
                self._end(self._assignment(trial), self._state_at_end(trial.trial_id))
            self._announce_end(trial.trial_id)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Record why a run's process died, and a new attempt if Tune restarts the run."""
        self._causes[trial.trial_id] = _cause(trial)
        if trial.num_failures <= trial.max_failures:
            assignment = self._assignment(trial)
            newest = self._launcher.newest_checkpoint(assignment)
            if newest > self._newest_checkpoints.get(trial.trial_id, ""):
                self._newest_checkpoints[trial.trial_id] = newest
                trial.max_failures = trial.num_failures + MAX_RESTARTS  # it has made progress within an epoch
            with _pausing(self._control):
                self._ledger.set_attempt(assignment, assignment.attempt + trial.num_failures)

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Do nothing for a run that was removed before it started: the ledger hands it out again."""

    def _assignment(self, trial: TuneTrial) -> Assignment:
        return self._searcher.assignments[trial.trial_id]

    def _give_up(self, trial_id: str) -> None:
        cause = self._causes.get(trial_id, "its process died")
        with _pausing(self._control):
            if trial_id not in self._paused_trials:
                pruned = self._state_at_end(trial_id) == "pruned"
                self._end(
                    self._searcher.assignments[trial_id], *(("pruned",) if pruned else ("failed", cause))
                )
            self._announce_end(trial_id)

    def _state_at_end(self, trial_id: str) -> State:
        """The state of a run that ended by itself; on workers, a pruned run may reach its last epoch."""
        record = self._ledger.record(self._searcher.assignments[trial_id])
        is_incomplete = len(record.epochs) < self._ledger.spec.budget.epochs
        return "pruned" if trial_id in self._pruned_trials and is_incomplete else "finished"

    def _end(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        if self._ledger.is_running(assignment):  # Tune reports the end of a stopped run too
            self._ledger.finish(assignment, state, cause)

    def _announce_end(self, trial_id: str) -> None:
        """Announce once that a run's processes have ended."""
        if trial_id not in self._announced_ends:
            self._announced_ends.add(trial_id)
            self._observer(self._searcher.assignments[trial_id])


def _cause(trial: TuneTrial) -> str:
    """The last line of the error that Tune recorded, at most 300 characters."""
    path = trial.error_file
    if path is None or not Path(path).is_file():
        return "its process died"
    line = last_line(Path(path).read_text(errors="replace"), 300)
    return describe_death(line) if line else "its process died"
