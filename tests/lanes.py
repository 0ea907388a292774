"""The lanes of the tests and their order: see docs/testing.md."""

FAULTS = (
    "faults/test_signals.py",
    "test_real_studies.py",
    "study/test_interruptions.py",
    "test_storage.py",
    "faults/test_requests.py",
    "faults/test_killed_drivers.py",
    "faults/test_disk_full.py",
    "study/test_trials_on_workers.py",
    "study/test_losses.py",
    "study/test_backends.py",
    "faults/test_damaged_checkpoints.py",
    "study/test_bank_tasks.py",
    "faults/test_lost_banks.py",
    "faults/",
    "study/test_shared_folders.py",
    "postgres/",
    "security/test_canary.py",
    "security/test_ray_listens.py",
    "study/test_bank_tasks_on_nodes.py",
    "study/test_head.py",
    "study/test_starting.py",
    "ledger/test_kills.py",
    "ledger/test_dashboard.py",
    "tracking/test_servers.py",
    "deployment/test_serving.py",
    "deployment/test_every_family.py",
    "api/test_notebook.py",
    "api/test_study_on_ray.py",
)
"""Files and folders of `make test-faults`: real Ray, real servers, kills. The slowest are first."""
SLOW = (
    "study/test_inprocess.py",
    "test_sweep.py",
    "tracking/test_projection.py",
    "test_bad_input.py",
    "training/test_workers.py",
)
"""The slowest files of `make test`, which start first, so that no worker waits for a long one at the end."""


def rank(path: str) -> int:
    """A test file's place in the order; `path` is relative to `tests`."""
    order = (*FAULTS, *SLOW)
    return next((place for place, start in enumerate(order) if path.startswith(start)), len(order))


def is_of_faults(path: str) -> bool:
    """Whether a test file belongs to the lane of faults."""
    return path.startswith(FAULTS)
