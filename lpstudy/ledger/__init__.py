"""The durable record of a study, over Optuna's ask and tell.

A name's module is imported on first use: a reader of a study's progress
needs no networks and no Optuna storage.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpstudy.ledger.address import database_url, display_url, ledger_file_url, sqlite_file, sqlite_url
    from lpstudy.ledger.arm_rows import (
        OUTPUTS,
        WARM_START,
        StoredExtension,
        StoredOutputs,
        StoredWarmStart,
    )
    from lpstudy.ledger.best_points import warm_points
    from lpstudy.ledger.design_limits import DESIGN_LATENCIES, LATENCY
    from lpstudy.ledger.finals_progress import CANDIDATE_SEEDS, candidate_runs
    from lpstudy.ledger.front_pruner import FRONT_PRUNER
    from lpstudy.ledger.growth import check_space, dump, extension, stored_spec
    from lpstudy.ledger.growth_words import (
        arm_groups,
        arms_words,
        change_words,
        extension_words,
        hidden_words,
    )
    from lpstudy.ledger.importances import hyperparameter_importances
    from lpstudy.ledger.lease import (
        HEARTBEAT_SECONDS,
        STALE_SECONDS,
        FencedError,
        Lease,
        StudyRunningError,
        is_study_running,
        read_lease,
        send_request,
    )
    from lpstudy.ledger.lease_row import REQUESTS, Request
    from lpstudy.ledger.ledger import CANCELLED, Ledger
    from lpstudy.ledger.optuna_storage import Storage
    from lpstudy.ledger.reader import LedgerReader, read_ledger
    from lpstudy.ledger.records import Assignment, Done, Kind, Record, State, Waiting
    from lpstudy.ledger.retry import UNAVAILABLE_ERRORS, UnwritableError, driver_message
    from lpstudy.ledger.samplers import check_searched
    from lpstudy.ledger.seed_rows import (
        FINAL_TEACHERS,
        FINALS,
        SEEDS,
        StoredFinals,
        StoredSeeds,
        StoredTeacher,
    )
    from lpstudy.ledger.spending_rows import ESTIMATE, SPENT, StoredPhase, phase_rows, stored_phases
    from lpstudy.ledger.spent_budget import limit_words
    from lpstudy.ledger.storage import engine_at, open_storage
    from lpstudy.ledger.study_progress import POINTS, SEARCH_SEED, StudyProgress
    from lpstudy.ledger.study_rows import (
        read_facts,
        read_progress,
        rename_study,
        study_names,
        study_version,
    )

_MODULES = {
    "front_pruner": ("FRONT_PRUNER",),
    "design_limits": ("DESIGN_LATENCIES", "LATENCY"),
    "address": ("ledger_file_url", "database_url", "sqlite_file", "display_url", "sqlite_url"),
    "reader": ("LedgerReader", "read_ledger"),
    "importances": ("hyperparameter_importances",),
    "lease": (
        "HEARTBEAT_SECONDS",
        "STALE_SECONDS",
        "FencedError",
        "StudyRunningError",
        "Lease",
        "is_study_running",
        "read_lease",
        "send_request",
    ),
    "lease_row": ("REQUESTS", "Request"),
    "arm_rows": ("OUTPUTS", "WARM_START", "StoredExtension", "StoredOutputs", "StoredWarmStart"),
    "growth_words": ("arm_groups", "arms_words", "change_words", "extension_words", "hidden_words"),
    "finals_progress": ("CANDIDATE_SEEDS", "candidate_runs"),
    "seed_rows": ("FINALS", "FINAL_TEACHERS", "SEEDS", "StoredFinals", "StoredSeeds", "StoredTeacher"),
    "growth": ("check_space", "dump", "extension", "stored_spec"),
    "ledger": ("CANCELLED", "Ledger"),
    "optuna_storage": ("Storage",),
    "study_rows": ("study_names", "rename_study", "read_facts", "read_progress", "study_version"),
    "records": ("Assignment", "Done", "Kind", "Record", "State", "Waiting"),
    "samplers": ("check_searched",),
    "study_progress": ("POINTS", "SEARCH_SEED", "StudyProgress"),
    "retry": ("UNAVAILABLE_ERRORS", "UnwritableError", "driver_message"),
    "storage": ("engine_at", "open_storage"),
    "spending_rows": ("ESTIMATE", "SPENT", "StoredPhase", "phase_rows", "stored_phases"),
    "spent_budget": ("limit_words",),
    "best_points": ("warm_points",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CANCELLED",
    "CANDIDATE_SEEDS",
    "DESIGN_LATENCIES",
    "ESTIMATE",
    "FINALS",
    "FINAL_TEACHERS",
    "FRONT_PRUNER",
    "HEARTBEAT_SECONDS",
    "LATENCY",
    "OUTPUTS",
    "POINTS",
    "REQUESTS",
    "SEARCH_SEED",
    "SEEDS",
    "SPENT",
    "STALE_SECONDS",
    "UNAVAILABLE_ERRORS",
    "WARM_START",
    "Assignment",
    "Done",
    "FencedError",
    "Kind",
    "Lease",
    "Ledger",
    "LedgerReader",
    "Record",
    "Request",
    "State",
    "Storage",
    "StoredExtension",
    "StoredFinals",
    "StoredOutputs",
    "StoredPhase",
    "StoredSeeds",
    "StoredTeacher",
    "StoredWarmStart",
    "StudyProgress",
    "StudyRunningError",
    "UnwritableError",
    "Waiting",
    "arm_groups",
    "arms_words",
    "candidate_runs",
    "change_words",
    "check_searched",
    "check_space",
    "database_url",
    "display_url",
    "driver_message",
    "dump",
    "engine_at",
    "extension",
    "extension_words",
    "hidden_words",
    "hyperparameter_importances",
    "is_study_running",
    "ledger_file_url",
    "limit_words",
    "open_storage",
    "phase_rows",
    "read_facts",
    "read_lease",
    "read_ledger",
    "read_progress",
    "rename_study",
    "send_request",
    "sqlite_file",
    "sqlite_url",
    "stored_phases",
    "stored_spec",
    "study_names",
    "study_version",
    "warm_points",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
