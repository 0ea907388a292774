"""A driver that is suspended for longer than its lease: another one takes over, and it writes no more."""

import os
import signal
import time
from pathlib import Path

import pytest
from commands import call, start, wait_for, wait_for_exit, write_study
from staging import FIXED, OFTEN, by_key, check_study, last_line, newest_epochs, running_sweep

from lpstudy import reconcile
from lpstudy.ledger import STALE_SECONDS

pytestmark = pytest.mark.soak


def test_the_second_continues_and_the_first_writes_nothing_and_ends(tmp_path: Path) -> None:
    write_study(tmp_path, ("epochs = 2\n", "epochs = 3000\n"), FIXED, OFTEN)
    with running_sweep(tmp_path, "--concurrent", "1") as first:
        os.kill(first.pid, signal.SIGSTOP)
        acknowledged = dict(newest_epochs(tmp_path))
        start_time = time.monotonic()
        second = start(tmp_path, "sweep", "tiny.toml", "--concurrent", "1")
        try:
            wait_for(lambda: sum(newest_epochs(tmp_path).values()) > sum(acknowledged.values()), seconds=280)
            assert time.monotonic() - start_time >= STALE_SECONDS
            os.kill(first.pid, signal.SIGCONT)
            old = wait_for_exit(first)
            new = wait_for_exit(second)
        finally:
            second.kill()
    assert old.code == 1, old.err
    assert "study 'tiny' was taken over by host " in last_line(old)
    assert old.err.count("taken over") == 1
    assert new.code == 0, new.err
    assert new.err.startswith("resuming after host ")
    check_study(tmp_path, 2)
    assert by_key(tmp_path)["bp-convnet-d2-w2/trial-0"].assignment.attempt == 2
    check = call(reconcile.main, tmp_path, "tiny", "--check")
    assert check.code == 0, check.out
