"""A full disk pauses the study with a message of path and bytes, and damages no stored file."""

import resource
import signal
from pathlib import Path

import pytest
import sqlalchemy
from commands import call, trial_processes, wait_for_exit, write_study
from staging import FIXED, LONG, OFTEN, by_key, check_study, checkpoints, last_line, running_sweep

from lpstudy import sweep
from lpstudy.disk import DiskFullError, write_atomically
from lpstudy.ledger import Ledger, UnwritableError, ledger_file_url
from lpstudy.outputs import EpochResult
from lpstudy.space import parse

SMALL = 1000
"""Largest size of a file in bytes."""


def test_a_file_that_finds_no_room_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    try:
        with pytest.raises(DiskFullError, match=rf"{path}: no room for 5,000 bytes, [\d,]+ are free"):
            write_atomically(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]
    assert path.read_bytes() == b"old"


def test_a_trial_that_finds_no_room_pauses_the_study(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, FIXED, OFTEN)
    with running_sweep(tmp_path) as process:
        paths = checkpoints(tmp_path)
        for pid in trial_processes(process.pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (SMALL, SMALL))
        result = wait_for_exit(process)
    assert result.code == 75, result.err
    assert "paused: disk full: " in last_line(result)
    assert "/runs/bp-convnet-d2-w2/trial-0/checkpoint-" in last_line(result)
    assert "bytes" in last_line(result)
    assert paths
    again = call(sweep.main, tmp_path, "tiny.toml", "--in-process")
    assert again.code == 0, again.err
    check_study(tmp_path, 2)
    assert not [w for record in by_key(tmp_path).values() for w in record.warnings if "refused" in w]


def test_a_ledger_that_finds_no_room_keeps_what_it_has(tmp_path: Path) -> None:
    spec = parse(
        {
            "name": "small",
            "data": {"kind": "digits"},
            "teacher": {"family": "convnet", "depth": 2, "width": 8},
            "students": [{"family": "convnet", "depth": 2, "width": 4}],
            "methods": {"bp": {}},
            "budget": {"trials": 1, "epochs": 100, "seeds": 1},
        },
        "here",
    )

    def reopen() -> Ledger:
        ledger = Ledger(ledger_file_url(tmp_path), spec, input_shape=(1, 8, 8), classes=10)
        ledger.check_unchanged("images")
        ledger.adopt_unfinished()
        return ledger

    ledger = reopen()
    trial = ledger.next()
    pages = ledger.engine.connect().exec_driver_sql("PRAGMA page_count").scalar_one()

    def limited(connection: object, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    ledger.engine.dispose()
    sqlalchemy.event.listen(ledger.engine, "connect", limited)
    acknowledged: list[int] = []

    def fill() -> None:
        for epoch in range(1, 101):
            ledger.report(trial, [EpochResult(epoch, {"validation_accuracy": 1.0, "x" * 200: 2.0})])
            acknowledged.append(epoch)

    with pytest.raises(
        UnwritableError, match=r"ledger\.db cannot be written: database or disk is full, [\d,]+ bytes"
    ):
        fill()
    assert acknowledged
    (record,) = reopen().records()
    assert [epoch.epoch for epoch in record.epochs] == acknowledged


@pytest.fixture(autouse=True)
def _no_signal() -> None:
    """Ignore the signal of the file size limit, so that Python raises an error."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
