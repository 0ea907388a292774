"""One study in five sweeps: interrupted, killed, resumed, raised and started with --fresh.

Each stage runs once; its tests check its results.
"""

import contextlib
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import (
    CommandResult,
    call,
    client_of,
    descendants,
    error_line,
    records,
    run_keys,
    runs,
    start,
    trial_processes,
    wait_for,
    wait_for_exit,
    write_study,
)
from mlflow.entities import Run

from lpstudy import sweep
from lpstudy.ledger import Record

EPOCHS = 100
LONG = ("epochs = 2\n", f"epochs = {EPOCHS}\n")
TWO = ("trials = 1", "trials = 2")
CASES = "weight_decay = { choices = [0.0, 1.0] }\nlearning_rate = 10.0"


@dataclass(frozen=True)
class Stage:
    """The results of one sweep."""

    folder: Path
    result: CommandResult
    records: dict[str, Record]
    runs: list[Run]


def look(folder: Path, result: CommandResult) -> Stage:
    ledger_records = records(folder, "tiny")
    assert len({record.assignment.key for record in ledger_records}) == len(ledger_records)
    by_key = {record.assignment.key.partition("/")[2]: record for record in ledger_records}
    return Stage(folder, result, by_key, runs(client_of(folder), "tiny"))


def checkpoint(folder: Path, number: int) -> list[Path]:
    """Whether a trial has checkpoints of some epochs."""
    return list((folder / "studies/tiny/runs").glob(f"*/trial-{number}/checkpoint-*[1-9]?.json"))


def second_attempt(folder: Path, key: str) -> bool:
    """Whether the run's second attempt has started and the ledger has some of its epochs."""
    ledger_records = (
        record for record in records(folder, "tiny") if record.assignment.key.endswith(f"/{key}")
    )
    return any(record.assignment.attempt == 2 and record.epochs for record in ledger_records)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("interrupted")
    write_study(folder, LONG, TWO)
    running = start(folder, "sweep", "tiny.toml", "--in-process")
    wait_for(lambda: checkpoint(folder, 0))
    running.send_signal(signal.SIGINT)
    return look(folder, wait_for_exit(running))


@pytest.fixture(scope="module")
def killed(interrupted: Stage) -> Stage:
    """Kill a trial's process, and after it has resumed the sweep with all its processes."""
    folder = interrupted.folder
    running = start(folder, "sweep", "tiny.toml", "--concurrent", "1")
    victims = wait_for(lambda: checkpoint(folder, 1) and trial_processes(running.pid))
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: second_attempt(folder, "trial-1"))
    family = descendants(running.pid)
    running.kill()
    for process in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return look(folder, wait_for_exit(running))


@pytest.fixture(scope="module")
def whole(killed: Stage) -> Stage:
    return look(killed.folder, call(sweep.main, killed.folder, "tiny.toml", "--concurrent", "1"))


@pytest.fixture(scope="module")
def raised(whole: Stage) -> Stage:
    return look(whole.folder, call(sweep.main, whole.folder, "tiny.toml", "--trials", "4", "--in-process"))


@pytest.fixture(scope="module")
def afresh(raised: Stage) -> Stage:
    """Start another study under the same name; half of its trials diverge."""
    rate = "learning_rate = { low = 1e-3, high = 1e-1, log = true }"
    write_study(raised.folder, LONG, (rate, f'optimizer = "sgd"\n{CASES}'), ("trials = 1", "trials = 4"))
    refused = call(sweep.main, raised.folder, "tiny.toml", "--in-process")
    assert refused.code == 2
    assert "training.learning_rate" in error_line(refused)
    return look(raised.folder, call(sweep.main, raised.folder, "tiny.toml", "--fresh", "--in-process"))


def test_an_interrupt_ends_in_one_line_and_130(interrupted: Stage) -> None:
    assert interrupted.result.code == 130
    last = interrupted.result.err.splitlines()[-1]
    assert last == "lpstudy sweep: interrupted; run the same command to resume"
    assert "Traceback" not in interrupted.result.err
    assert interrupted.result.out == ""


def test_an_interrupt_leaves_no_run_running_in_mlflow(interrupted: Stage) -> None:
    assert "RUNNING" not in {run.info.status for run in interrupted.runs}
    assert {run.data.tags["lpstudy.state"] for run in interrupted.runs if "trial" in run_keys([run])[0]} == {
        "paused"
    }


def test_a_trial_whose_process_died_continues_from_its_checkpoint(killed: Stage, whole: Stage) -> None:
    trial = whole.records["trial-1"]
    assert trial.state == "finished"
    assert trial.assignment.attempt >= 2
    assert [epoch.epoch for epoch in trial.epochs] == list(range(1, EPOCHS + 1))
    # The epochs before the kill are those that were reported then: nothing was trained twice into the ledger.
    before = killed.records["trial-1"].epochs
    assert before
    assert whole.records["trial-1"].epochs[: len(before)] == before


def test_the_same_command_after_a_kill_ends_every_run_once(whole: Stage) -> None:
    assert whole.result.code == 0, whole.result.err
    states = {key: record.state for key, record in whole.records.items()}
    assert sorted(key for key in states if key.startswith("trial")) == ["trial-0", "trial-1"]
    assert sum(key.startswith("final") for key in states) == 1
    assert set(states.values()) <= {"finished", "pruned"}
    assert len(run_keys(whole.runs)) == len(set(run_keys(whole.runs))) == 6
    assert "RUNNING" not in {run.info.status for run in whole.runs}


def test_a_resumed_run_has_each_metric_point_once(whole: Stage) -> None:
    run = next(run for run in whole.runs if run.data.tags["lpstudy.key"].endswith("/trial-0"))
    history = client_of(whole.folder).get_metric_history(run.info.run_id, "validation_accuracy")
    epochs = whole.records["trial-0"].epochs
    assert [(point.step, point.value) for point in history] == [
        (epoch.epoch, epoch.metrics["validation_accuracy"]) for epoch in epochs
    ]


def test_no_checkpoint_of_an_ended_run_is_left(whole: Stage) -> None:
    assert list(whole.folder.glob("studies/tiny/**/checkpoint-*")) == []
    assert not (whole.folder / "studies/tiny/tune").exists()


def test_more_trials_add_those_that_are_missing(whole: Stage, raised: Stage) -> None:
    assert raised.result.code == 0, raised.result.err
    assert sorted(key for key in raised.records if key.startswith("trial")) == [
        f"trial-{n}" for n in range(4)
    ]
    assert {key: raised.records[key] for key in whole.records} == whole.records
    before = {run.info.run_id: run.data.metrics for run in whole.runs if "trial" in run_keys([run])[0]}
    after = {run.info.run_id: run.data.metrics for run in raised.runs}
    assert {run_id: after[run_id] for run_id in before} == before


def test_a_fresh_study_keeps_the_old_one_under_another_name(raised: Stage, afresh: Stage) -> None:
    from lpstudy.ledger import ledger_file_url, read_ledger

    old = read_ledger(ledger_file_url(afresh.folder / "studies/tiny.old1"), "tiny").records()
    assert {record.assignment.key.partition("/")[2]: record for record in old} == raised.records
    client = client_of(afresh.folder)
    names = [e.name for e in client.search_experiments() if e.name.startswith("lpstudy/")]
    assert len(names) == 2
    other = next(name for name in names if name != "lpstudy/tiny").removeprefix("lpstudy/")
    assert {run.info.run_id for run in runs(client, other)} == {run.info.run_id for run in raised.runs}
    assert not {run.info.run_id for run in afresh.runs} & {run.info.run_id for run in raised.runs}


def test_a_diverged_trial_is_failed_with_its_cause_and_the_study_continues(afresh: Stage) -> None:
    assert afresh.result.code == 0, afresh.result.err
    trials = {key: record for key, record in afresh.records.items() if key.startswith("trial")}
    assert len(trials) == 2  # two points, of a budget of four trials
    assert (
        "bp-convnet-d2-w2: its search space has 2 points, each tried once; of 4 trials 2" in afresh.result.err
    )
    decays = {record.assignment.values["weight_decay"]: record.state for record in trials.values()}
    assert decays[1.0] == "failed"
    assert decays[0.0] in ("finished", "pruned")
    for record in trials.values():
        if record.state == "failed":
            assert re.fullmatch(r"nan: .*loss is (nan|inf) in epoch \d+", str(record.cause))
    failed = [run for run in afresh.runs if run.info.status == "FAILED"]
    assert failed
    assert all(run.data.tags["lpstudy.cause"].startswith("nan: ") for run in failed)
    assert re.search(r"trial-\d failed .*\(nan: .*loss is", afresh.result.err)
