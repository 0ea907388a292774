"""Trials on two Ray Train workers each, from the sweep to the report."""

from pathlib import Path

import pytest
from commands import CommandResult, call, client_of, files, records, runs, write_study

from lpstudy import sweep

RATES = (
    "learning_rate = { low = 1e-3, high = 1e-1, log = true }",
    "learning_rate = { choices = [1e-6, 5e-2] }",
)
HALVING = 'seeds = 1\npruner = "halving"'
EPOCHS = ("epochs = 2\n", "epochs = 8\n")
pytestmark = pytest.mark.timeout(1500)
"""Ray Train takes minutes to start on a busy machine."""
LP = ("[methods.bp]", "[methods.lp]\nn_neighbors = 3")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CommandResult]:
    folder = tmp_path_factory.mktemp("shared")
    write_study(folder, LP, RATES, ("trials = 1", "trials = 2"), ("seeds = 1", HALVING), EPOCHS)
    return folder, call(sweep.main, folder, "tiny.toml", "--workers-per-trial", "2")


def test_a_study_ends_well(shared: tuple[Path, CommandResult]) -> None:
    folder, result = shared
    assert result.code == 0, result.err
    ledger_records = records(folder, "tiny")
    assert len(ledger_records) == 3
    for record in ledger_records:
        assert (record.state, record.assignment.attempt) in (("finished", 1), ("pruned", 1))
        assert [epoch.epoch for epoch in record.epochs] == list(range(1, len(record.epochs) + 1))
    statuses = {"finished": "FINISHED", "pruned": "KILLED"}
    mlflow_states = {run.data.tags["lpstudy.key"]: run.info.status for run in runs(client_of(folder), "tiny")}
    for record in ledger_records:
        assert mlflow_states[record.assignment.key] == statuses[record.state]


def test_after_a_trial_that_was_stopped_early_the_next_one_gets_its_cores(
    shared: tuple[Path, CommandResult],
) -> None:
    states = [(r.assignment.kind, r.state, len(r.epochs)) for r in records(shared[0], "tiny")]
    pruned = [n for n, (_, state, epochs) in enumerate(states) if state == "pruned" and epochs < 8]
    assert pruned
    assert pruned[0] < len(states) - 1
    assert states[-1] == ("final", "finished", 8)


def test_nothing_of_ray_train_is_left(shared: tuple[Path, CommandResult]) -> None:
    folder, _ = shared
    stored = [name for name in files(folder / "studies/tiny") if "weights" not in name]
    assert [name for name in stored if not name.endswith("/model.json")] == ["ledger.db"]
