"""The export of a study's ledger to files, and the list of a storage's studies."""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from commands import CommandResult, call, error_line, records

from lpstudy import export, status

Smoke = tuple[Path, CommandResult]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_every_run_and_every_epoch_is_there(kind: str, smoke: Smoke, tmp_path: Path) -> None:
    folder, _ = smoke
    result = call(export.main, folder, "smoke", "--format", kind, "--to", str(tmp_path), "--json")
    assert result.code == 0, result.err
    exported = json.loads(result.out)
    read = pd.read_parquet if kind == "parquet" else pd.read_csv
    frames = {name: read(exported[name]["file"]) for name in ("runs", "epochs")}
    assert {name: exported[name]["rows"] for name in frames} == {name: len(f) for name, f in frames.items()}
    sizes = pd.read_csv(folder / "reports/smoke/comparison.csv").set_index("method")
    ledger_records = records(folder, "smoke")
    assert len(frames["runs"]) == len(ledger_records)
    for row, record in zip(frames["runs"].itertuples(), ledger_records, strict=True):
        assert (row.arm, row.kind, row.trial) == (
            record.assignment.arm,
            record.assignment.kind,
            record.assignment.number,
        )
        assert (row.method, row.student) == tuple(record.assignment.arm.split("-", 1))
        size = sizes.loc[row.method]
        assert (row.depth, row.width) == (2, 8)
        assert (row.parameters, row.macs) == (size["parameters"], size["macs"])
        fixed = json.loads(row.fixed_hyperparameters)
        assert fixed["batch_size"] > 0
        assert not fixed.keys() & record.assignment.values.keys()
        assert row.validation_accuracy == pytest.approx(record.last["validation_accuracy"])
    expected = [(record.assignment.key, epoch.epoch) for record in ledger_records for epoch in record.epochs]
    assert list(zip(frames["epochs"]["run"], frames["epochs"]["epoch"], strict=True)) == expected


def test_in_words_it_says_where_and_how_many(smoke: Smoke, tmp_path: Path) -> None:
    result = call(export.main, smoke[0], "smoke", "--to", str(tmp_path))
    assert result.out.splitlines()[0] == f"{tmp_path}/runs.parquet: {len(records(smoke[0], 'smoke'))} rows"


def test_a_list_has_a_line_for_each_study(smoke: Smoke) -> None:
    listing = partial(status.main, command="list")
    assert call(listing, smoke[0]) == CommandResult(0, "smoke: finished; 10 of 10 runs\n", "")
    (row,) = json.loads(call(listing, smoke[0], "--json").out)
    assert (row["study"], row["state"], row["done"], row["wanted"]) == ("smoke", "finished", 10, 10)


def test_a_study_that_is_not_there_is_named_with_those_that_are(smoke: Smoke) -> None:
    result = call(export.main, smoke[0], "none")
    assert result.code == 2
    assert "has no study 'none'; it has smoke" in error_line(result)
