"""The ledger as Tune sees it: a Searcher hands out its runs, a scheduler writes down what they report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from lpstudy.ledger import Assignment, Done, Ledger, State, Waiting
from lpstudy.study.trial import as_results

Observer = Callable[[Assignment], None]
"""Hears that something has changed in the ledger about a run."""
FAILURES = 2
"""How often a trial whose process died is started again."""


@dataclass(frozen=True, slots=True)
class Trainable:
    """What Tune runs for an assignment."""

    function: Any
    """A Tune function, with its resources."""
    config: Callable[[Assignment], dict[str, Any]]
    """What it is called with."""
    concurrent: int
    """How many at once."""
    reuse_actors: bool
    """Whether the next run may go into the process of one that has ended."""


def drive(
    ledger: Ledger, trainable: Trainable, folder: Path, *, searching: Callable[[], bool], observer: Observer
) -> None:
    """Have Tune run all that the ledger hands out; returns when it has no more.

    Args:
        ledger: The study.
        trainable: Run for each assignment.
        folder: Where Tune keeps its own state; absolute.
        searching: False once no new trial may be begun.
        observer: Hears of every change, in this thread.
    """
    searcher = LedgerSearcher(ledger, trainable.config, searching)
    tuner = tune.Tuner(
        trainable.function,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=LedgerScheduler(ledger, searcher, observer),
            num_samples=-1,
            max_concurrent_trials=trainable.concurrent,
            reuse_actors=trainable.reuse_actors,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=tune.FailureConfig(max_failures=FAILURES),
            verbose=0,
        ),
    )
    tuner.fit()


class LedgerSearcher(Searcher):
    """Suggests what the ledger hands out.

    Args:
        ledger: The study.
        config: What the trainable needs for a run.
        searching: False once no new trial may be begun.
    """

    def __init__(
        self, ledger: Ledger, config: Callable[[Assignment], dict[str, Any]], searching: Callable[[], bool]
    ) -> None:
        super().__init__(metric="epoch", mode="max")
        self._ledger, self._config, self._searching = ledger, config, searching
        self.assignments: dict[str, Assignment] = {}
        self.given_up: Callable[[str], None] = lambda trial_id: None
        """Hears of a run that is not started again."""

    def suggest(self, trial_id: str) -> Any:
        """The next run's config, None while others must end first, FINISHED at the end."""
        match self._ledger.next(searching=self._searching()):
            case Done():
                return str(Searcher.FINISHED)
            case Waiting():
                return None
            case assignment:
                self.assignments[trial_id] = assignment
                return self._config(assignment)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on that a run has failed for good; all other ends the scheduler hears itself."""
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
    """Writes every report into the ledger, stops what Optuna's pruner gives up, tells each end once."""

    _supports_buffered_results = False

    def __init__(self, ledger: Ledger, searcher: LedgerSearcher, observer: Observer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Ray
        self._ledger, self._searcher, self._observer = ledger, searcher, observer
        self._causes: dict[str, str] = {}
        searcher.given_up = self._given_up

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot, which is never restored."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Keep the epochs; stop the trial where it is pruned or has diverged."""
        assignment = self._assignment(trial)
        if trial.num_failures:
            self._ledger.attempt(assignment, assignment.attempt + trial.num_failures)
        if self._ledger.report(assignment, as_results(result)):
            self._end(assignment, "pruned")
            return str(TrialScheduler.STOP)
        if "failed" in result:
            self._end(assignment, "failed", result["failed"])
            return str(TrialScheduler.STOP)
        self._observer(assignment)
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Tell the end of a run that came to its own end."""
        self._end(self._assignment(trial), "finished")

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Keep why a run's process died; Tune says so too before it starts the run again."""
        self._causes[trial.trial_id] = _cause(trial)

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Tell a run that was dropped before it ran."""
        self._end(self._assignment(trial), "failed", "dropped before it ran")

    def _assignment(self, trial: TuneTrial) -> Assignment:
        return self._searcher.assignments[trial.trial_id]

    def _given_up(self, trial_id: str) -> None:
        cause = self._causes.get(trial_id, "its process died")
        self._end(self._searcher.assignments[trial_id], "failed", cause)

    def _end(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        if self._ledger.running(assignment):  # Tune tells the end of a stopped run too
            self._ledger.finish(assignment, state, cause)
            self._observer(assignment)


def _cause(trial: TuneTrial) -> str:
    """The last line of the error that Tune wrote down, at most 300 characters."""
    path = trial.error_file
    if path is None or not Path(path).is_file():
        return "its process died"
    lines = [line for line in Path(path).read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "its process died"
