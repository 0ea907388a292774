"""The progress of studies, read from their ledgers alone: for `list`, `status` and their JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import Engine

from lpstudy.command.budget_notes import budget_notes
from lpstudy.command.quantities import count_states, duration, size_words, three_digits
from lpstudy.command.study_ledgers import ledger_engine, ledger_name
from lpstudy.damage import DamagedError
from lpstudy.folder import Folder
from lpstudy.ledger import (
    Kind,
    Record,
    StoredExtension,
    StudyProgress,
    candidate_runs,
    extension_words,
    hidden_words,
    is_study_running,
    read_lease,
    read_progress,
)

KINDS: tuple[Kind, ...] = ("trial", "candidate", "final")
REQUEST_STATES = {"pause": "pausing", "stop": "stopping", "cancel": "cancelling"}
UNREADABLE = "unreadable"
"""State of a study whose ledger cannot be read."""
STATES = ("finished", "pruned", "failed", "running")


@dataclass(frozen=True, slots=True)
class ArmOverview:
    """The runs of one kind of an arm."""

    arm: str
    kind: Kind
    states: Mapping[str, int]
    """The number of runs by state, of those in STATES."""
    remaining: int
    best: float | None
    """The best validation accuracy of a finished run in percent; None if there is none."""

    def to_json(self) -> dict[str, Any]:
        """The overview as `--json` prints it."""
        return {
            "arm": self.arm,
            "kind": self.kind,
            **self.states,
            "left": self.remaining,
            "best": self.best,
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """The state and progress of a study; the last values that its process reported are None without one."""

    study: str
    state: str
    why: str = ""
    alive: bool = False
    holder: Mapping[str, Any] | None = None
    done: int = 0
    wanted: int = 0
    runs_per_hour: float | None = None
    eta_seconds: float | None = None
    nodes: int | None = None
    workers: int | None = None
    mlflow_behind: int | None = None
    mlflow_error: str | None = None
    free_bytes: int | None = None
    waiting: str = ""
    notes: list[str] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
    hidden: dict[str, int] = field(default_factory=dict)
    arms: list[ArmOverview] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The overview as `--json` prints it; of an unreadable study, the reason alone."""
        row = asdict(self) | {"arms": [arm.to_json() for arm in self.arms]}
        if self.state == UNREADABLE:
            return {key: row[key] for key in ("study", "state", "why", "alive", "arms")}
        return row

    def summary(self) -> str:
        """The study's state, progress and process in one line."""
        words = [self.state + (f" ({self.why})" if self.why else "")]
        if self.state != UNREADABLE:
            words.append(f"{self.done} of {self.wanted} runs")
        if self.holder:
            words.append(
                f"host {self.holder['host']}, pid {self.holder['pid']}, since {self.holder['since']}"
            )
        if self.nodes:
            workers = f"{_count(self.workers, 'worker')} on " if self.workers else ""
            words.append(f"{workers}{_count(self.nodes, 'node')}")
        if self.eta_seconds is not None:
            pace = f"{three_digits(self.runs_per_hour)} runs an hour, " if self.runs_per_hour else ""
            words.append(f"{pace}ETA {duration(self.eta_seconds)}")
        if self.alive and self.mlflow_behind is not None:
            behind = f"{self.mlflow_behind} runs behind" if self.mlflow_behind else "up to date"
            words.append(f"MLflow {behind}" + (f" ({self.mlflow_error})" if self.mlflow_error else ""))
        if self.alive and self.free_bytes is not None:
            words.append(f"{size_words(self.free_bytes)} free")
        if self.waiting:
            words.append(f"waiting: {self.waiting}")
        return "; ".join(words)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def make_overview(progress: StudyProgress, engine: Engine, name: str) -> Overview:
    """The overview of a study.

    Args:
        progress: The study's progress, from its ledger.
        engine: The engine of the ledger's database.
        name: The study's name in the ledger.
    """
    row = read_lease(engine, name)
    gauges: Mapping[str, Any] = row.gauges if row is not None else {}
    is_alive = is_study_running(engine, name)
    records = [record for record in progress.records() if record.state != "infeasible"]
    return Overview(
        study=name,
        state=_state(progress, gauges, is_alive, has_holder=row is not None and row.token is not None),
        why=gauges.get("why", ""),
        alive=is_alive,
        holder=None if row is None or row.holder is None or not is_alive else row.holder.as_json(),
        done=sum(record.state != "running" for record in records),
        wanted=progress.expected_runs,
        runs_per_hour=gauges.get("rate") if is_alive else None,
        eta_seconds=gauges.get("eta") if is_alive else None,
        nodes=gauges.get("nodes"),
        workers=gauges.get("workers"),
        mlflow_behind=gauges.get("behind"),
        mlflow_error=gauges.get("mlflow"),
        free_bytes=gauges.get("free"),
        waiting=gauges.get("waiting", ""),
        notes=[*budget_notes(progress, progress.budget), *_growth_notes(progress)],
        growth=progress.growth,
        hidden=dict(progress.hidden),
        arms=[
            _arm(progress, arm, kind, records) for arm in progress.arm_names for kind in _kinds(progress, arm)
        ],
    )


def _state(progress: StudyProgress, gauges: Mapping[str, Any], is_alive: bool, *, has_holder: bool) -> str:
    if is_alive:
        request = gauges.get("request", "")
        return REQUEST_STATES[request] if request in REQUEST_STATES else str(gauges.get("state", "starting"))
    if progress.is_complete():
        return "finished"
    return "died" if has_holder else str(gauges.get("state", "unfinished"))


def _growth_notes(progress: StudyProgress) -> Iterator[str]:
    """How the study grew, and which arms its file no longer has."""
    yield from (extension_words(StoredExtension.model_validate(change)) for change in progress.growth)
    if words := hidden_words(progress.hidden):
        yield f"hidden: {words}"


def _kinds(progress: StudyProgress, arm: str) -> tuple[Kind, ...]:
    """The kinds of runs that an arm has."""
    candidates = candidate_runs(progress.finals_progress(arm).n_candidates, progress.trial_limit(arm))
    return tuple(kind for kind in KINDS if kind != "candidate" or candidates)


def _arm(progress: StudyProgress, arm: str, kind: Kind, all_records: list[Record]) -> ArmOverview:
    records = [r for r in all_records if r.assignment.arm == arm and r.assignment.kind == kind]
    counts = count_states(records)
    accuracies = [r.last["validation_accuracy"] for r in records if r.state == "finished"]
    return ArmOverview(
        arm=arm,
        kind=kind,
        states={state: counts[state] for state in STATES},
        remaining=_remaining(progress, arm, kind),
        best=max(accuracies, default=None),
    )


def _remaining(progress: StudyProgress, arm: str, kind: Kind) -> int:
    """The number of remaining runs; finals of an earlier winner do not count."""
    if kind == "trial":
        return progress.remaining_trials(arm, progress.budget.trials)
    return progress.remaining_finals(arm, kind)


def read_overview(storage: Folder, url: str | None, name: str) -> Overview:
    """The overview of a study by its name; if its ledger is damaged, the reason alone.

    Raises:
        UnwritableError: The ledger is locked or its server does not answer.
    """
    try:
        engine = ledger_engine(storage.resolve() / name, url)
        stored_name = ledger_name(name, url)
        return replace(make_overview(read_progress(engine, stored_name), engine, stored_name), study=name)
    except (ValueError, DamagedError) as error:
        return Overview(name, UNREADABLE, str(error))
