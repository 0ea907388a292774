"""A kill between two writes of a ledger's storage."""

from collections.abc import Callable
from typing import Any

import pytest

from lpstudy.ledger import Storage

WRITES = (
    "create_new_study",
    "set_study_system_attr",
    "set_study_attributes",
    "_create_new_trial",
    "_set_trial_attr_without_commit",  # within a transaction, as the next
    "_set_trial_param_without_commit",
    "set_trial_state_values",
)


class KilledError(BaseException):
    """A kill, which the ledger does not catch."""


def kill_after(writes: int, patch: pytest.MonkeyPatch) -> None:
    """Let the storage do some writes, and fail at the next."""
    remaining = [writes]

    def failing(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if remaining[0] == 0:
                raise KilledError
            remaining[0] -= 1
            return write(*args, **kwargs)

        return call

    for name in WRITES:
        patch.setattr(Storage, name, failing(getattr(Storage, name)))
