"""A wrong value in a ledger ends every command that reads it in one line."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from commands import call
from damages import (
    ATTRIBUTES,
    COLUMNS,
    DATA,
    FACTS,
    LEASE,
    OUTPUTS,
    SPACE,
    TEACHER,
    TOLD,
    WARM_START,
    text,
)

from lpstudy import export, operate, status
from lpstudy.ledger import Done, Lease, Ledger, Waiting, ledger_file_url
from lpstudy.outputs import EpochResult
from lpstudy.space import parse

COMMANDS: dict[str, Callable[..., int]] = {
    "list": partial(status.main, command="list"),
    "status": status.main,
    "pause": partial(operate.main, command="pause"),
    "export": export.main,
}
TURNS = cycle(COMMANDS)
"""The commands in turn; since they share one reader, each wrong value is tested with one of them."""
SQL = Callable[[sqlite3.Connection], Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with finished, failed and running runs, finals, and a lease."""
    folder = tmp_path_factory.mktemp("whole")
    ledger = Ledger(ledger_file_url(folder), parse(SPACE, "here"), input_shape=(1, 8, 8), classes=10)
    ledger.check_unchanged("images")
    for key, value in {
        "data": DATA,
        "teacher": TEACHER,
        "provenance": {"command": "lpstudy sweep held"},
        "outputs": OUTPUTS,
        "warm_start": WARM_START,
    }.items():
        ledger.set_fact(key, value)
    ledger.set_fact("exhausted", [])
    lease = Lease(ledger.engine, "held")
    lease.acquire()
    lease.heartbeat(TOLD)
    count = 0
    while not isinstance(assignment := ledger.next(), Waiting | Done):
        count += 1
        for epoch in (1, 2):
            metrics = {
                "validation_accuracy": 50.0 + count,
                "train_loss": 0.5,
                "seconds": 1.0,
                "training_macs": 1e6,
            }
            ledger.report(assignment, [EpochResult(epoch, metrics, ("a word",))])
        ledger.set_attempt(assignment, 2)
        ledger.finish(assignment, "failed" if count == 1 else "finished", "nan" if count == 1 else None)
    assert count == 2 * (2 + 1)
    ledger.engine.dispose()
    return folder / "ledger.db"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    (tmp_path / "studies/held").mkdir(parents=True)
    shutil.copy(whole, tmp_path / "studies/held")
    return tmp_path


def damage(folder: Path, change: SQL | str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "studies/held/ledger.db")) as connection, connection:
        changed = connection.execute(change, values) if isinstance(change, str) else change(connection)
        assert changed.rowcount > 0, change


def refused(folder: Path, command: str, *parts: str) -> None:
    """Check that the command ends with exit code 1 and one line that names the study and the parts."""
    result = call(COMMANDS[command], folder, *([] if command == "list" else ["held"]))
    assert result.code == 1, (command, result)
    line = result.out if command in ("list", "status") else result.err
    assert "Traceback" not in result.out + result.err
    assert line.count("\n") == 1
    assert line.removesuffix("\n").isprintable()
    for part in ("held", *parts):
        assert part in line, (command, line)


def short(value: object) -> str:
    """A value as the name of a test."""
    return ascii(value)[:30]


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in FACTS.items() for value in values], ids=short
)
def test_a_fact_of_a_study(key: str, value: object, folder: Path) -> None:
    damage(folder, "UPDATE study_user_attributes SET value_json = ? WHERE key = ?", value, key)
    refused(folder, next(TURNS), key)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in ATTRIBUTES.items() for value in values], ids=short
)
def test_an_attribute_of_a_run(key: str, value: object, folder: Path) -> None:
    damage(folder, "UPDATE trial_user_attributes SET value_json = ? WHERE key = ?", value, key)
    refused(folder, next(TURNS), key, "run bp-convnet/" if key != "final" else "run bp-convnet/finals/0")


@pytest.mark.parametrize(
    ("table", "column", "key", "value"),
    [(*k, value) for k, values in COLUMNS.items() for value in values],
    ids=short,
)
def test_a_column_of_a_run(table: str, column: str, key: str, value: object, folder: Path) -> None:
    damage(folder, f"UPDATE OR REPLACE {table} SET {column} = ?", value)
    refused(folder, next(TURNS), key)


MISSING = {
    "values": "DELETE FROM trial_values",
    "params": "DELETE FROM trial_params",
    "epochs": "DELETE FROM trial_user_attributes WHERE key LIKE 'epochs:%'",
    "final": "DELETE FROM trial_user_attributes WHERE key = 'final'",
    **{key: f"DELETE FROM study_user_attributes WHERE key = '{key}'" for key in ("spec", "id", "classes")},
    "number": "DELETE FROM trials WHERE number = 0",
    "arms": "DELETE FROM studies WHERE study_name LIKE '%/finals'",
}


@pytest.mark.parametrize("key", MISSING)
def test_what_is_missing(key: str, folder: Path) -> None:
    damage(folder, MISSING[key])
    for command in COMMANDS if key != "params" else ["export"]:  # how far a study is does not hang on them
        refused(folder, command, key)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in LEASE.items() for value in values], ids=short
)
def test_a_column_of_the_lease(key: str, value: object, folder: Path) -> None:
    damage(folder, f"UPDATE lpstudy_leases SET {key} = ?", value)
    refused(folder, next(turn for turn in TURNS if turn != "export"), f"lease: {key}")


def test_a_damaged_study_hides_no_other(folder: Path) -> None:
    shutil.copytree(folder / "studies/held", folder / "studies/held.old1")
    damage(folder, "UPDATE study_user_attributes SET value_json = '[]' WHERE key = 'spec'")
    for command in ("list", "status"):
        result = call(COMMANDS[command], folder)
        heads = [line for line in result.out.splitlines() if line.startswith("held")]
        assert heads[0].startswith("held: unreadable (the ledger: study 'held': spec: ")
        assert heads[1].startswith("held.old1: ")
        assert "6 of 6 runs" in heads[1]
        assert result.code == 1


def test_control_characters_of_a_ledger_reach_no_terminal(folder: Path) -> None:
    hostile = "a\x1b[2J\x9b31m\x7f\r\n\u202e\u2028\u0007b"
    holder = {"host": hostile, "pid": 1, "since": hostile, "machine": hostile, "started": hostile}
    gauges = {**TOLD, "state": hostile, "why": hostile, "waiting": hostile, "mlflow": hostile, "behind": 1}
    damage(folder, "UPDATE lpstudy_leases SET token = NULL, holder = ?, told = ?", text(holder), text(gauges))
    rename = "UPDATE studies SET study_name = replace(study_name, 'bp-convnet', ?)"
    damage(folder, rename, hostile.replace("\n", ""))
    names = "UPDATE study_user_attributes SET value_json = replace(value_json, '\"bp-convnet\"', ?)"
    damage(folder, f"{names} WHERE key = 'arms'", text(hostile.replace("\n", "")))
    damage(folder, "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'cause'", text(hostile))
    provenance = text({"command": hostile})
    damage(folder, "UPDATE study_user_attributes SET value_json = ? WHERE key = 'provenance'", provenance)
    for command, main in COMMANDS.items():
        result = call(main, folder, *([] if command == "list" else ["held"]))
        for line in (result.out + result.err).split("\n"):
            assert line.isprintable(), (command, line)
        assert command == "export" or "\\x1b[2J" in result.out + result.err, result


def test_a_whole_ledger_is_read_by_each_command(folder: Path) -> None:
    output = call(COMMANDS["status"], folder)
    assert output.code == 0
    assert "held: " in output.out
    assert "6 of 6 runs" in output.out
    assert call(COMMANDS["list"], folder).code == 0
    assert call(COMMANDS["export"], folder, "held").code == 0
