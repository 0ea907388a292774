"""The progress of studies, read from their ledgers alone: for `list`, `status` and their JSON."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from lpstudy.command.budget_notes import budget_notes
from lpstudy.command.quantities import count_states, duration, size_words, three_digits
from lpstudy.damage import DamagedError
from lpstudy.folder import Folder, LocalFolder
from lpstudy.ledger import (
    Kind,
    Record,
    StudyProgress,
    UnwritableError,
    engine_at,
    is_study_running,
    ledger_file_url,
    read_lease,
    read_progress,
    study_names,
)

KINDS: tuple[Kind, ...] = ("trial", "final")
REQUEST_STATES = {"pause": "pausing", "stop": "stopping", "cancel": "cancelling"}
UNREADABLE = "unreadable"
"""State of a study whose ledger cannot be read."""
STATES = ("finished", "pruned", "failed", "running")


def studies(storage: Folder, url: str | None) -> list[str]:
    """The names of all studies in a storage folder; one that --fresh archived is called NAME.old1."""
    if isinstance(storage, LocalFolder) and url is None:
        return sorted(path.parent.name for path in storage.path.glob("*/ledger.db"))
    return study_names(engine_at(ledger_url(storage, url)))


def will_resume(args: Namespace) -> bool:
    """Whether a sweep will resume an existing study, as far as can be told."""
    from lpstudy import space  # slow: it imports the networks

    try:
        name = space.read_study_file(space.find_study_file(args.study)).name
        return not args.fresh and name in studies(args.storage, args.ledger)
    except (ValueError, OSError, UnwritableError):
        return False


def ledger_url(folder: Folder, url: str | None) -> str:
    """The address of a study's ledger: `url`, else a database file in the study's folder.

    Raises:
        ValueError: The folder is in an object store, which cannot hold a database.
    """
    if url is not None:
        return url
    if not isinstance(folder, LocalFolder):
        raise ValueError(
            f"--storage {folder}: it cannot hold a database: give --ledger postgresql://... or, with one"
            " driver, --ledger sqlite:////local/folder/ledger.db"
        )
    return ledger_file_url(folder.path)


def ledger_engine(folder: Folder, url: str | None) -> Engine:
    """The database engine of an existing study's ledger.

    Raises:
        ValueError: There is no such study.
    """
    if url is None and isinstance(folder, LocalFolder) and not (folder.path / "ledger.db").is_file():
        raise ValueError(f"{folder}: no such study")
    return engine_at(ledger_url(folder, url))


def existing_study(storage: Folder, url: str | None, name: str) -> str:
    """The name, if a study of this name exists.

    Raises:
        ValueError: There is none; the message lists the studies that exist.
    """
    existing_names = studies(storage, url)
    if name not in existing_names:
        where = "the ledger" if url is not None else str(storage)
        raise ValueError(f"{where} has no study {name!r}; it has {', '.join(existing_names) or 'none'}")
    return name


def overview(progress: StudyProgress, engine: Engine, name: str) -> dict[str, Any]:
    """The overview of a study, fit for JSON.

    Args:
        progress: The study's progress, from its ledger.
        engine: The engine of the ledger's database.
        name: The study's name in the ledger.
    """
    row = read_lease(engine, name)
    gauges: Mapping[str, Any] = row.gauges if row is not None else {}
    is_alive = is_study_running(engine, name)
    records = [record for record in progress.records() if record.state != "infeasible"]
    done, wanted = sum(record.state != "running" for record in records), progress.expected_runs
    rate = gauges.get("rate") if is_alive else None
    return {
        "study": name,
        "state": _state(progress, gauges, is_alive, has_holder=row is not None and row.token is not None),
        "why": gauges.get("why", ""),
        "alive": is_alive,
        "holder": None if row is None or row.holder is None or not is_alive else row.holder.as_json(),
        "done": done,
        "wanted": wanted,
        "runs_per_hour": rate,
        "eta_seconds": gauges.get("eta") if is_alive else None,
        "nodes": gauges.get("nodes"),
        "workers": gauges.get("workers"),
        "mlflow_behind": gauges.get("behind"),
        "mlflow_error": gauges.get("mlflow"),
        "free_bytes": gauges.get("free"),
        "waiting": gauges.get("waiting", ""),
        "notes": list(budget_notes(progress, progress.budget)),
        "arms": [line for arm in progress.arm_names for line in _arm(progress, arm, records)],
    }


def _state(progress: StudyProgress, gauges: Mapping[str, Any], is_alive: bool, *, has_holder: bool) -> str:
    if is_alive:
        request = gauges.get("request", "")
        return REQUEST_STATES[request] if request in REQUEST_STATES else str(gauges.get("state", "starting"))
    if progress.is_complete():
        return "finished"
    return "died" if has_holder else str(gauges.get("state", "unfinished"))


def _arm(progress: StudyProgress, arm: str, records: list[Record]) -> list[dict[str, Any]]:
    lines = []
    for kind in KINDS:
        mine = [r for r in records if r.assignment.arm == arm and r.assignment.kind == kind]
        states = count_states(mine)
        accuracies = [r.last["validation_accuracy"] for r in mine if r.state == "finished"]
        line: dict[str, Any] = {"arm": arm, "kind": kind} | {state: states[state] for state in STATES}
        line |= {"left": _left(progress, arm, kind, mine), "best": max(accuracies) if accuracies else None}
        lines.append(line)
    return lines


def _left(progress: StudyProgress, arm: str, kind: Kind, mine: list[Record]) -> int:
    """The number of remaining runs; finals of an earlier winner do not count."""
    if kind == "trial":
        return progress.remaining_trials(arm, progress.budget.trials)
    winner = progress.winner(arm)
    if winner is None:
        return progress.budget.seeds
    of_winner = sum(record.assignment.number == winner.number for record in mine)
    return max(0, progress.budget.seeds - of_winner)


def read_overview(storage: Folder, url: str | None, name: str) -> dict[str, Any]:
    """The overview of a study by its name; if its ledger is damaged, the reason alone.

    Raises:
        UnwritableError: The ledger is locked or its server does not answer.
    """
    try:
        engine = ledger_engine(storage.resolve() / name, url)
        stored_name = ledger_name(name, url)
        return overview(read_progress(engine, stored_name), engine, stored_name) | {"study": name}
    except (ValueError, DamagedError) as error:
        return {"study": name, "state": UNREADABLE, "why": str(error), "alive": False, "arms": []}


def ledger_name(name: str, url: str | None) -> str:
    """A study's name in its ledger: an archived study keeps its original name in its own database file."""
    return name if url is not None else name.partition(".")[0]


def summary_line(overview: Mapping[str, Any]) -> str:
    """A study's state, progress and process in one line."""
    words = [overview["state"] + (f" ({overview['why']})" if overview["why"] else "")]
    if "wanted" in overview:
        words.append(f"{overview['done']} of {overview['wanted']} runs")
    if overview.get("holder"):
        holder = overview["holder"]
        words.append(f"host {holder['host']}, pid {holder['pid']}, since {holder['since']}")
    if overview.get("nodes"):
        workers = overview.get("workers") or 0
        on = f"{workers} worker{'s' * (workers != 1)} on " if workers else ""
        words.append(f"{on}{overview['nodes']} node" + "s" * (overview["nodes"] != 1))
    if overview.get("eta_seconds") is not None:
        rate = overview.get("runs_per_hour")
        pace = f"{three_digits(rate)} runs an hour, " if rate else ""
        words.append(f"{pace}ETA {duration(overview['eta_seconds'])}")
    if overview["alive"] and overview.get("mlflow_behind") is not None:
        lag = (
            f"MLflow {overview['mlflow_behind']} runs behind"
            if overview["mlflow_behind"]
            else "MLflow up to date"
        )
        words.append(lag + (f" ({overview['mlflow_error']})" if overview["mlflow_error"] else ""))
    if overview["alive"] and overview.get("free_bytes") is not None:
        words.append(f"{size_words(overview['free_bytes'])} free")
    if overview.get("waiting"):
        words.append(f"waiting: {overview['waiting']}")
    return "; ".join(words)
