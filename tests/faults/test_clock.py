"""A wall clock that is set forward and back by an hour while a study runs."""

import json
import time
from pathlib import Path

import pytest
from commands import ROOT, call, wait_for, wait_for_exit, write_study
from staging import FIXED, OFTEN, by_key, check_study, newest_epochs, running_sweep

from lpstudy import status

HOUR = 3600.0
TRIAL = "bp-convnet-d2-w2/trial-0"


@pytest.mark.soak
def test_a_study_through_which_the_clock_is_set_is_whole(tmp_path: Path) -> None:
    write_study(tmp_path, ("epochs = 2\n", "epochs = 3000\n"), FIXED, OFTEN)
    clock = tmp_path / "clock"
    clock.write_text("0")
    variables = {"LPSTUDY_TEST_CLOCK": str(clock), "PYTHONPATH": f"{Path(__file__).parent / 'clock'}:{ROOT}"}
    start_time = time.monotonic()
    with running_sweep(tmp_path, "--concurrent", "1", **variables) as process:
        for shift in (HOUR, -HOUR):
            clock.write_text(str(shift))
            before = newest_epochs(tmp_path)[TRIAL]
            wait_for(lambda before=before: newest_epochs(tmp_path)[TRIAL] > before + 100)
            now = json.loads(call(status.main, tmp_path, "tiny", "--json").out)
            assert (now["state"], now["alive"]) == ("running", True)
        assert by_key(tmp_path)[TRIAL].state == "running"
        result = wait_for_exit(process)
    took = time.monotonic() - start_time
    assert result.code == 0, result.err
    check_study(tmp_path, 2)
    trial, final = (by_key(tmp_path)[key] for key in (TRIAL, "bp-convnet-d2-w2/final-0-seed-1"))
    assert (trial.assignment.attempt, final.assignment.attempt) == (1, 1)
    for record in (trial, final):
        seconds = [epoch.metrics["seconds"] for epoch in record.epochs]
        assert seconds == sorted(seconds)
        assert 0 < seconds[-1] < took
    assert trial.started is not None
    assert trial.ended is not None
    assert trial.ended < trial.started - HOUR / 2, "the clock was not set"
