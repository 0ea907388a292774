"""A ledger that another process keeps locked for longer than the study waits."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from commands import run, wait_for_exit, write_study
from staging import FIXED, LONG, OFTEN, check_study, last_line, newest_epochs, running_sweep

pytestmark = pytest.mark.soak


def test_it_pauses_naming_the_ledger_and_continues_later(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, FIXED, OFTEN, ("trials = 1", "trials = 2"))
    path = tmp_path / "studies/tiny/ledger.db"
    with running_sweep(tmp_path) as process, contextlib.closing(sqlite3.connect(path, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = wait_for_exit(process)
        other.rollback()
        acknowledged = newest_epochs(tmp_path)
    assert result.code == 75, result.err
    assert f"the ledger {path} cannot be written for " in last_line(result)
    assert "database is locked" in last_line(result)
    again = run(tmp_path, "sweep", "tiny.toml")
    assert again.code == 0, again.err
    check_study(tmp_path, 3)
    assert all(epochs >= acknowledged.get(key, 0) for key, epochs in newest_epochs(tmp_path).items())
