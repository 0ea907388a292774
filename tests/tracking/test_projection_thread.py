"""The thread that writes to MLflow restarts after any error."""

from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from lpstudy import threads, tracking
from lpstudy.folder import LocalFolder


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), RuntimeError("a bug")])
def test_what_is_to_be_written_at_the_end_is_written_after_an_error(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "RESTART_SECONDS", 0.01)
    written: list[bool] = []
    errors = iter([error])

    def allowed() -> bool:
        for one in errors:
            raise one
        return True

    def write_all(self: Any, *, paused: bool) -> None:
        written.append(paused)

    monkeypatch.setattr(tracking.Projection, "_write_all", write_all)
    ledger: Any = None
    facts: Any = None
    thread = tracking.Projection(
        MlflowClient(f"sqlite:///{tmp_path / 'none.db'}"), ledger, facts, LocalFolder(tmp_path), allowed
    )
    thread.start()
    thread.close(seconds=20)
    assert thread.error is None
    assert written[-1] is True
