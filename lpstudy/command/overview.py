"""Where a study stands, from its ledger alone: for `list`, `status` and whoever reads their JSON."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from lpstudy.command.budget_notes import budget_notes
from lpstudy.command.formatting import count_states, duration, size_words, three_digits
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
    """Every study of a storage; one that --fresh has put aside is called NAME.old1."""
    if isinstance(storage, LocalFolder) and url is None:
        return sorted(path.parent.name for path in storage.path.glob("*/ledger.db"))
    return study_names(engine_at(ledger_url(storage, url)))


def will_resume(args: Namespace) -> bool:
    """Whether a sweep's study is there and is to go on, as far as that can be known."""
    from lpstudy import space  # the networks of a study take seconds to import

    try:
        name = space.read_study_file(space.find_study_file(args.study)).name
        return not args.fresh and name in studies(args.storage, args.ledger)
    except (ValueError, OSError, UnwritableError):
        return False


def ledger_url(folder: Folder, url: str | None) -> str:
    """The database of a study's ledger: the one that is given, else a file in the study's folder.

    Raises:
        ValueError: The folder is in an object store, where no database can be.
    """
    if url is not None:
        return url
    if not isinstance(folder, LocalFolder):
        raise ValueError(
            f"--storage {folder}: no database can be kept there: give --ledger postgresql://... or, with one"
            " driver, --ledger sqlite:////local/folder/ledger.db"
        )
    return ledger_file_url(folder.path)


def engine_of(folder: Folder, url: str | None) -> Engine:
    """The database of the ledger of a study that is to be read.

    Raises:
        ValueError: There is none.
    """
    if url is None and isinstance(folder, LocalFolder) and not (folder.path / "ledger.db").is_file():
        raise ValueError(f"{folder}: no such study")
    return engine_at(ledger_url(folder, url))


def existing_study(storage: Folder, url: str | None, name: str) -> str:
    """The name of a study that is there.

    Raises:
        ValueError: It is not; those that are, are named.
    """
    have = studies(storage, url)
    if name not in have:
        where = "the ledger" if url is not None else str(storage)
        raise ValueError(f"{where} has no study {name!r}; it has {', '.join(have) or 'none'}")
    return name


def overview(standing: StudyProgress, engine: Engine, name: str) -> dict[str, Any]:
    """All of it, fit for JSON.

    Args:
        standing: The study's.
        engine: Of the database that it was read from.
        name: Of the study there.
    """
    row = read_lease(engine, name)
    gauges: Mapping[str, Any] = row.gauges if row is not None else {}
    lives = is_study_running(engine, name)
    records = [record for record in standing.records() if record.state != "infeasible"]
    done, wanted = sum(record.state != "running" for record in records), standing.expected_runs
    rate = gauges.get("rate") if lives else None
    return {
        "study": name,
        "state": _state(standing, gauges, lives, taken=row is not None and row.token is not None),
        "why": gauges.get("why", ""),
        "alive": lives,
        "holder": None if row is None or row.holder is None or not lives else row.holder.as_json(),
        "done": done,
        "wanted": wanted,
        "runs_per_hour": rate,
        "eta_seconds": gauges.get("eta") if lives else None,
        "nodes": gauges.get("nodes"),
        "workers": gauges.get("workers"),
        "mlflow_behind": gauges.get("behind"),
        "mlflow_error": gauges.get("mlflow"),
        "free_bytes": gauges.get("free"),
        "waiting": gauges.get("waiting", ""),
        "notes": list(budget_notes(standing, standing.budget)),
        "arms": [line for arm in standing.arm_names for line in _arm(standing, arm, records)],
    }


def _state(standing: StudyProgress, gauges: Mapping[str, Any], lives: bool, *, taken: bool) -> str:
    if lives:
        request = gauges.get("request", "")
        return REQUEST_STATES[request] if request in REQUEST_STATES else str(gauges.get("state", "starting"))
    if standing.is_complete():
        return "finished"
    return "died" if taken else str(gauges.get("state", "unfinished"))


def _arm(standing: StudyProgress, arm: str, records: list[Record]) -> list[dict[str, Any]]:
    lines = []
    for kind in KINDS:
        mine = [r for r in records if r.assignment.arm == arm and r.assignment.kind == kind]
        states = count_states(mine)
        reached = [r.last["validation_accuracy"] for r in mine if r.state == "finished"]
        line: dict[str, Any] = {"arm": arm, "kind": kind} | {state: states[state] for state in STATES}
        line |= {"left": _left(standing, arm, kind, mine), "best": max(reached) if reached else None}
        lines.append(line)
    return lines


def _left(standing: StudyProgress, arm: str, kind: Kind, mine: list[Record]) -> int:
    """How many runs are to come; finals of a trial that has been outdone since do not count."""
    if kind == "trial":
        return standing.remaining_trials(arm, standing.budget.trials)
    winner = standing.winner(arm)
    if winner is None:
        return standing.budget.seeds
    of_winner = sum(record.assignment.number == winner.number for record in mine)
    return max(0, standing.budget.seeds - of_winner)


def read_overview(storage: Folder, url: str | None, name: str) -> dict[str, Any]:
    """Of a study by its name; where its ledger cannot be read, the reason alone.

    Raises:
        UnwritableError: It is locked, or no server answers: later it may be read.
    """
    try:
        engine = engine_of(storage.resolve() / name, url)
        own = ledger_name(name, url)
        return overview(read_progress(engine, own), engine, own) | {"study": name}
    except (ValueError, DamagedError) as error:
        return {"study": name, "state": UNREADABLE, "why": str(error), "alive": False, "arms": []}


def ledger_name(name: str, url: str | None) -> str:
    """What a study is called in its ledger: one that was put aside keeps its name in a file of its own."""
    return name if url is not None else name.partition(".")[0]


def summary_line(found: Mapping[str, Any]) -> str:
    """State, progress and what the study's process says of itself, in one line."""
    words = [found["state"] + (f" ({found['why']})" if found["why"] else "")]
    if "wanted" in found:
        words.append(f"{found['done']} of {found['wanted']} runs")
    if found.get("holder"):
        holder = found["holder"]
        words.append(f"host {holder['host']}, pid {holder['pid']}, since {holder['since']}")
    if found.get("nodes"):
        workers = found.get("workers") or 0
        on = f"{workers} worker{'s' * (workers != 1)} on " if workers else ""
        words.append(f"{on}{found['nodes']} node" + "s" * (found["nodes"] != 1))
    if found.get("eta_seconds") is not None:
        rate = found.get("runs_per_hour")
        pace = f"{three_digits(rate)} runs an hour, " if rate else ""
        words.append(f"{pace}ETA {duration(found['eta_seconds'])}")
    if found["alive"] and found.get("mlflow_behind") is not None:
        lag = (
            f"MLflow {found['mlflow_behind']} runs behind" if found["mlflow_behind"] else "MLflow up to date"
        )
        words.append(lag + (f" ({found['mlflow_error']})" if found["mlflow_error"] else ""))
    if found["alive"] and found.get("free_bytes") is not None:
        words.append(f"{size_words(found['free_bytes'])} free")
    if found.get("waiting"):
        words.append(f"waiting: {found['waiting']}")
    return "; ".join(words)
