"""Trials on two Ray Train workers each, from the sweep to the report."""

from pathlib import Path

import pytest
from running import Left, call, client_of, files, records, runs, write_space

from lpstudy import sweep

LP = ("[methods.bp]", "[methods.lp]\nn_neighbors = 3")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Left]:
    folder = tmp_path_factory.mktemp("shared")
    write_space(folder, LP)
    return folder, call(sweep.main, folder, "tiny.toml", "--workers-per-trial", "2")


def test_a_study_ends_well(shared: tuple[Path, Left]) -> None:
    folder, left = shared
    assert left.code == 0, left.err
    found = records(folder, "tiny")
    assert [record.assignment.key for record in found] == [
        "lp-convnet-d2-w2/trial-0",
        "lp-convnet-d2-w2/final-0-seed-1",
    ]
    for record in found:
        assert (record.state, record.assignment.attempt) == ("finished", 1)
        assert [epoch.epoch for epoch in record.epochs] == [1, 2]
    assert {run.info.status for run in runs(client_of(folder), "tiny")} == {"FINISHED"}


def test_nothing_of_ray_train_is_left(shared: tuple[Path, Left]) -> None:
    folder, _ = shared
    left = [name for name in files(folder / "studies/tiny") if "weights" not in name]
    assert left == ["ledger.db"]
