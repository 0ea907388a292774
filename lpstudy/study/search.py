"""The ledger as Tune sees it: a Searcher hands out its runs, a scheduler writes down what they report."""

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
from lpstudy.study.control import FAULT_SECONDS, DeadlineStopper, StudyControl
from lpstudy.study.failures import PAUSED, STORAGE, UNREACHABLE, describe_death
from lpstudy.study.restarting_task import MAX_RESTARTS
from lpstudy.study.trial import as_results

Observer = Callable[[Assignment], None]
"""Hears that something has changed in the ledger about a run."""


@dataclass(frozen=True, slots=True)
class TuneLauncher:
    """What Tune runs for an assignment."""

    function: Any
    """A Tune function, with its resources."""
    config: Callable[[Assignment], dict[str, Any]]
    """What it is called with."""
    concurrent: Callable[[], int]
    """How many at once, as the cluster is now."""
    kept: Callable[[Assignment], str]
    """Name of its newest checkpoint: a greater one shows that it has gone on."""
    on_workers: bool
    """Whether each run has Ray Train workers of its own: it is dismissed where it should end early, for
    killed workers may keep their share of the cluster. Else the next run goes into the same process."""


def run_tune(
    ledger: Ledger,
    trainable: TuneLauncher,
    folder: Path,
    *,
    searching: Callable[[], bool],
    observer: Observer,
    control: StudyControl,
) -> None:
    """Have Tune run all that the ledger hands out; returns when it has no more, or something else is wished.

    Args:
        ledger: The study.
        trainable: Run for each assignment.
        folder: Where Tune keeps its own state; absolute.
        searching: False once no new trial may be begun.
        observer: Hears of every change, in this thread.
        control: What the study has been asked to do.

    Raises:
        UnwritableError: The ledger cannot be written; what was reported since is in the trials' checkpoints.
        FencedError: Another process has taken the study over.
    """
    searcher = LedgerSearcher(ledger, trainable, searching, control)
    tuner = tune.Tuner(
        trainable.function,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=LedgerScheduler(ledger, searcher, observer, control, trainable),
            num_samples=-1,
            reuse_actors=not trainable.on_workers,
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
    """A ledger that cannot be written is no fault of the trial, as which Tune would take it."""
    try:
        yield
    except (UnwritableError, FencedError) as error:
        control.fail(error, seconds=FAULT_SECONDS if isinstance(error, UnwritableError) else 0.0)


class LedgerSearcher(Searcher):
    """Suggests what the ledger hands out.

    Args:
        ledger: The study.
        trainable: Says what it needs for a run, and how many fit.
        searching: False once no new trial may be begun.
        control: What the study has been asked to do.
    """

    def __init__(
        self, ledger: Ledger, trainable: TuneLauncher, searching: Callable[[], bool], control: StudyControl
    ) -> None:
        super().__init__(metric="epoch", mode="max")
        self._ledger, self._trainable, self._searching = ledger, trainable, searching
        self._control = control
        self.assignments: dict[str, Assignment] = {}
        self._live: set[str] = set()
        control.live = 0
        self.given_up: Callable[[str], None] = lambda trial_id: None
        """Hears of a run that is not started again."""

    def suggest(self, trial_id: str) -> Any:
        """The next run's config, None while others must end first, FINISHED where there is none."""
        if self._control.request != "run":
            return str(Searcher.FINISHED)
        if len(self._live) >= self._trainable.concurrent():
            return None
        with _pausing(self._control):
            match self._ledger.next(searching=self._searching()):
                case Done():
                    return str(Searcher.FINISHED)
                case Waiting():
                    return None
                case assignment:
                    self.assignments[trial_id] = assignment
                    self._live.add(trial_id)
                    self._control.live = len(self._live)
                    return self._trainable.config(assignment)
        return str(Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on that a run has failed for good; all other ends the scheduler hears itself."""
        self._live.discard(trial_id)
        self._control.live = len(self._live)
        if error:
            self.given_up(trial_id)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot, which is never restored."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is durable."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is durable."""


class LedgerScheduler(FIFOScheduler):
    """Writes every report into the ledger, stops what Optuna's pruner gives up, tells each end once.

    Args:
        ledger: The study.
        searcher: Knows which run a trial is.
        observer: Hears of every change; of an end when the run's processes write nothing more.
        control: What the study has been asked to do; dismisses runs.
        trainable: Says how far a run has come, and where it ends early.
    """

    _supports_buffered_results = False

    def __init__(
        self,
        ledger: Ledger,
        searcher: LedgerSearcher,
        observer: Observer,
        control: StudyControl,
        trainable: TuneLauncher,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Ray
        self._ledger, self._searcher, self._observer = ledger, searcher, observer
        self._control, self._trainable = control, trainable
        self._causes: dict[str, str] = {}
        self._paused: set[str] = set()
        self._dismissed: set[str] = set()
        self._pruning: set[str] = set()
        self._told: set[str] = set()
        self._newest: dict[str, int] = {}
        self._kept: dict[str, str] = {}
        searcher.given_up = self._given_up

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot, which is never restored."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Keep the epochs; stop the trial where it is pruned, has failed, or is to go on another time."""
        if trial.trial_id in self._dismissed:
            return str(TrialScheduler.CONTINUE)
        if self._control.fault is None:
            with _pausing(self._control):
                if self._goes_on(trial, result):
                    return str(TrialScheduler.CONTINUE)
                if self._trainable.on_workers:
                    self._dismissed.add(trial.trial_id)
                    self._control.end_run(self._assignment(trial).key)
                    return str(TrialScheduler.CONTINUE)
                self._over(trial.trial_id)
                return str(TrialScheduler.STOP)
        self._paused.add(trial.trial_id)  # its checkpoint has what the ledger does not get
        return str(TrialScheduler.STOP)

    def _goes_on(self, trial: TuneTrial, result: dict[str, Any]) -> bool:
        assignment = self._assignment(trial)
        end = result["end"]
        pruned = self._ledger.report(assignment, as_results(result))
        if pruned and self._trainable.on_workers:  # which train on until they hear of it
            self._pruning.add(trial.trial_id)
            self._control.end_run(assignment.key)
        elif pruned:
            self._end(assignment, "pruned")
            return False
        if end == PAUSED and trial.trial_id in self._pruning:
            self._end(assignment, "pruned")
            return False
        if end.startswith(STORAGE):
            error = UnwritableError(end, needs_repair=not end.startswith(UNREACHABLE))
            self._control.fail(error, seconds=FAULT_SECONDS)
        if end == PAUSED or end.startswith(STORAGE):
            self._paused.add(trial.trial_id)
            return False
        if end:
            self._end(assignment, "failed", end)
            return False
        if result["epoch"] > self._newest.get(trial.trial_id, 0):
            self._newest[trial.trial_id] = result["epoch"]
            trial.max_failures = trial.num_failures + MAX_RESTARTS  # in a row: it has gone on
        self._observer(assignment)
        return True

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Tell the end of a run that came to its own end."""
        with _pausing(self._control):
            if trial.trial_id not in self._paused:
                self._end(self._assignment(trial), self._own_end(trial.trial_id))
            self._over(trial.trial_id)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Keep why a run's process died, and that another attempt begins where Tune starts the run again."""
        self._causes[trial.trial_id] = _cause(trial)
        if trial.num_failures <= trial.max_failures:
            assignment = self._assignment(trial)
            if (kept := self._trainable.kept(assignment)) > self._kept.get(trial.trial_id, ""):
                self._kept[trial.trial_id] = kept
                trial.max_failures = trial.num_failures + MAX_RESTARTS  # it has gone on within an epoch
            with _pausing(self._control):
                self._ledger.set_attempt(assignment, assignment.attempt + trial.num_failures)

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Nothing for a run that was dropped before it ran: the ledger hands it out again."""

    def _assignment(self, trial: TuneTrial) -> Assignment:
        return self._searcher.assignments[trial.trial_id]

    def _given_up(self, trial_id: str) -> None:
        cause = self._causes.get(trial_id, "its process died")
        with _pausing(self._control):
            if trial_id not in self._paused:
                pruned = self._own_end(trial_id) == "pruned"
                self._end(
                    self._searcher.assignments[trial_id], *(("pruned",) if pruned else ("failed", cause))
                )
            self._over(trial_id)

    def _own_end(self, trial_id: str) -> State:
        """How a run on workers has ended that trained on when it was pruned: it may have reached its end."""
        record = self._ledger.record(self._searcher.assignments[trial_id])
        short = len(record.epochs) < self._ledger.spec.budget.epochs
        return "pruned" if trial_id in self._pruning and short else "finished"

    def _end(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        if self._ledger.is_running(assignment):  # Tune tells the end of a stopped run too
            self._ledger.finish(assignment, state, cause)

    def _over(self, trial_id: str) -> None:
        """Tell once that a run's processes have done with it."""
        if trial_id not in self._told:
            self._told.add(trial_id)
            self._observer(self._searcher.assignments[trial_id])


def _cause(trial: TuneTrial) -> str:
    """The last line of the error that Tune wrote down, at most 300 characters."""
    path = trial.error_file
    if path is None or not Path(path).is_file():
        return "its process died"
    lines = [line for line in Path(path).read_text(errors="replace").splitlines() if line.strip()]
    return describe_death(lines[-1].strip()[:300]) if lines else "its process died"
