"""Any value of a ledger that is not as lpstudy writes it ends every command that reads it in one line."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from running import call

from lpstudy import export, operate, status
from lpstudy.ledger import Done, Lease, Ledger, Waiting, database
from lpstudy.outputs import EpochResult
from lpstudy.space import parse

SPACE = {
    "name": "held",
    "data": {"kind": "digits"},
    "teacher": {"family": "convnet", "depth": 2, "width": 4},
    "students": [{"family": "convnet", "depth": {"low": 2, "high": 3}, "width": 4}],
    "methods": {"bp": {}, "kd": {"temperature": {"choices": [2.0, 4.0]}}},
    "training": {"learning_rate": {"low": 1e-3, "high": 0.1, "log": True}},
    "budget": {"trials": 2, "epochs": 2, "seeds": 1},
    "constraints": {"max_macs": 10**9},
}
DATA = {"name": "digits", "classes": 10, "input_shape": [1, 8, 8], "train": 9, "validation": 5, "test": 5}
TEACHER = {
    "key": "t1", "sha256": "0" * 64, "label": "convnet-d2-w4", "validation_accuracy": 91.0,
    "test_accuracy": 90.0, "parameters": 1000, "macs": 5000, "training_macs": 1e6, "seed": 0,
}  # fmt: skip
TOLD = {
    "state": "running", "rate": 12.5, "nodes": 1, "workers": 2, "behind": 0, "mlflow": None, "free": 10**9,
    "waiting": "", "heard": 0,
}  # fmt: skip
COMMANDS: dict[str, Callable[..., int]] = {
    "list": partial(status.main, command="list"),
    "status": status.main,
    "pause": partial(operate.main, command="pause"),
    "export": export.main,
}
TURNS = cycle(COMMANDS)
"""All commands read through one reader: each wrong value is shown to one of them in turn."""
SQL = Callable[[sqlite3.Connection], Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with finished, failed and running runs, finals, and a lease."""
    folder = tmp_path_factory.mktemp("whole")
    ledger = Ledger(database(folder), parse(SPACE, "here"), input_shape=(1, 8, 8), classes=10)
    ledger.accept("images")
    for key, value in {
        "data": DATA,
        "teacher": TEACHER,
        "provenance": {"command": "lpstudy sweep held"},
    }.items():
        ledger.keep(key, value)
    ledger.keep("exhausted", [])
    lease = Lease(ledger.engine, "held")
    lease.take()
    lease.beat(TOLD)
    count = 0
    while not isinstance(taken := ledger.next(), Waiting | Done):
        count += 1
        for epoch in (1, 2):
            metrics = {
                "validation_accuracy": 50.0 + count,
                "train_loss": 0.5,
                "seconds": 1.0,
                "training_macs": 1e6,
            }
            ledger.report(taken, [EpochResult(epoch, metrics, ("a word",))])
        ledger.attempt(taken, 2)
        ledger.finish(taken, "failed" if count == 1 else "finished", "nan" if count == 1 else None)
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
    """One line, exit code 1, no traceback; the line names the study and what else is asked for."""
    left = call(COMMANDS[command], folder, *([] if command == "list" else ["held"]))
    assert left.code == 1, (command, left)
    line = left.out if command in ("list", "status") else left.err
    assert "Traceback" not in left.out + left.err
    assert line.count("\n") == 1
    assert line.removesuffix("\n").isprintable()
    for part in ("held", *parts):
        assert part in line, (command, line)


def text(value: object) -> str:
    return json.dumps(value)


def short(value: object) -> str:
    """Fit for a test's name."""
    return ascii(value)[:30]


NO_JSON: Sequence[object] = ("not json", "[", "[" * 100_000, "", None, b"\xff\xfe", '"\\ud800', "9" * 5000)
"""What the column of any JSON may hold."""
OBJECTS, LISTS, TEXTS = ("{}", '{"a": [1]}'), ("[]", "[3]", '["a", null]'), ('"a"',)
NUMBERS = ("0", "-1", "1.5", "1e999", "NaN", "1e308", "123456789012345678901234567890")
OTHER = ("null", "true")


def other_than(*kinds: Sequence[str]) -> list[object]:
    """Wrong values for what is one of the kinds."""
    every = (OBJECTS, LISTS, TEXTS, NUMBERS, OTHER)
    return [*NO_JSON, *(value for kind in every if kind not in kinds for value in kind)]


SPEC: dict[str, Any] = SPACE
EPOCH = {"epoch": 1, "metrics": {"validation_accuracy": 50.0}, "warnings": []}
FACTS: dict[str, list[object]] = {
    "spec": [
        *other_than(),
        *(text({**SPEC, key: 3}) for key in ("name", "students", "methods", "budget", "data", "teacher")),
        *(text({k: v for k, v in SPEC.items() if k != key}) for key in ("students", "methods", "budget")),
        *(text({**SPEC, "budget": SPEC["budget"] | {key: value}})
          for key in ("trials", "seeds", "epochs") for value in (0, -1, 1.5, 10**9, "9", None, 10**30)),
        text({**SPEC, "students": [3]}),
        text({**SPEC, "methods": {"bp": 3}}),
    ],
    "input_shape": [*other_than(), "[1, 8]", "[1, 8, 0]", '[1, 8, "8"]', "[1, 8, 1000000000]"],
    "classes": [*other_than(NUMBERS), *NUMBERS],
    "exhausted": [*other_than(LISTS), "[3]"],
    "data": [*other_than(), text({**DATA, "train": -1}), text({**DATA, "name": None})],
    "teacher": [
        *other_than(),
        *(text({**TEACHER, "macs": value}) for value in (0, -5, 1.5, "5000")),
        *(text({**TEACHER, "test_accuracy": value}) for value in (1e308, -1, 101, "90")),
    ],
    "provenance": [*other_than(OBJECTS), '{"command": 3}'],
    "id": other_than(TEXTS),
    "content": other_than(TEXTS),
}  # fmt: skip
ATTRIBUTES: dict[str, list[object]] = {
    "epochs:000001": [
        *other_than(LISTS),
        "[3]",
        *(text([{**EPOCH, "epoch": value}]) for value in (0, -1, 1.5, "1", None, 10**9)),
        *(text([{**EPOCH, "metrics": value}]) for value in (3, [], {}, {"validation_accuracy": None})),
        *(text([{**EPOCH, "metrics": {"validation_accuracy": value}}])
          for value in (1e308, -1, 101, "50", True)),
        *(f'[{{"epoch": 1, "metrics": {{"validation_accuracy": {value}}}, "warnings": []}}]'
          for value in ("NaN", "Infinity", "1e999")),
        *(text([{**EPOCH, "metrics": {"validation_accuracy": 50.0, "training_macs": value}}])
          for value in (-1, "1")),
        *(text([{**EPOCH, "warnings": value}]) for value in (3, "a", [3], None)),
        *(text([{k: v for k, v in EPOCH.items() if k != key}]) for key in EPOCH),
        text([{**EPOCH, "test_correct": "x"}]),
        text([{**EPOCH, "test_correct": 3}]),
    ],
    "final": [
        *other_than(),
        *(text({"number": a, "seed": b, "values": {}}) for a, b in ((-1, 1), ("0", 1), (0, 0), (0, 10**30))),
        text({"number": 0, "seed": 1, "values": 3}),
        text({"number": 0, "seed": 1, "values": {"depth": [2]}}),
    ],
    "attempt": [*other_than(NUMBERS), *NUMBERS],
    "cause": other_than(TEXTS),
}  # fmt: skip


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


COLUMNS: dict[tuple[str, str, str], list[object]] = {
    ("trials", "state", "state"): ["", "DONE", "complete", 3, b"\xff"],
    ("trials", "number", "number"): [-1, 10**9, "x", 1.5, None, b"\xff"],
    ("trials", "datetime_start", "datetime_start"): ["yesterday", 3, "", "2024-13-45 00:00:00", b"\xff",
                                                     "9999-12-31 23:59:59.999999x"],
    ("trials", "datetime_complete", "datetime_complete"): ["soon", 1e300],
    ("trial_values", "value", "values"): [1e308, -1.0, "x", None, b"\xff"],
    ("trial_values", "value_type", "values"): ["INF_POS", "NAN", "", 1],
    ("trial_values", "objective", "values"): [2, -1, "x"],
    ("trial_params", "param_value", "params."): [1e308, -1.0, "x", None, b"\xff"],
    ("trial_params", "distribution_json", "params."): [
        *NO_JSON, "{}", "[]", '{"name": "FloatDistribution", "attributes": {}}',
        '{"name": "FloatDistribution", "attributes": {"low": "a", "high": [], "log": 3, "step": {}}}',
        '{"name": "CategoricalDistribution", "attributes": {"choices": 3}}',
        '{"name": "os.system", "attributes": {}}', '{"name": "IntDistribution", "attributes": 3}',
    ],
    ("study_directions", "direction", "direction"): ["", "UP", 3],
}  # fmt: skip


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


LEASE: dict[str, list[object]] = {
    "token": [b"\xff", "x" * 40],
    "beat": ["x", -1, 1.5, b"\xff"],
    "holder": [
        *(value for value in other_than() if value not in (None, "null")),
        *(text({"host": "h", "pid": pid, "since": "s", "machine": "m", "started": "1"})
          for pid in ("../self", 0, -1, 10**12, None, [])),
        text({"host": 3, "pid": 1, "since": "s", "machine": "m", "started": "1"}),
    ],
    "told": [
        *(value for value in other_than(OBJECTS) if value is not None),
        *(text({**TOLD, key: value}) for key in ("rate", "nodes", "workers", "behind", "free", "heard")
          for value in ("many", -1, [])),
        *(text({**TOLD, key: value}) for key in ("state", "why", "waiting", "mlflow") for value in (3, {})),
        '{"rate": NaN}', '{"rate": 1e308}', '{"wish": "hop"}',
    ],
    "wish": ["", "hop", 3, b"\xff"],
    "wished": ["x", -1, b"\xff"],
}  # fmt: skip


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
        left = call(COMMANDS[command], folder)
        heads = [line for line in left.out.splitlines() if line.startswith("held")]
        assert heads[0].startswith("held: unreadable (the ledger: study 'held': spec: ")
        assert heads[1].startswith("held.old1: ")
        assert "6 of 6 runs" in heads[1]
        assert left.code == 1


def test_control_characters_of_a_ledger_reach_no_terminal(folder: Path) -> None:
    hostile = "a\x1b[2J\x9b31m\x7f\r\n\u202e\u2028\u0007b"
    holder = {"host": hostile, "pid": 1, "since": hostile, "machine": hostile, "started": hostile}
    told = {**TOLD, "state": hostile, "why": hostile, "waiting": hostile, "mlflow": hostile, "behind": 1}
    damage(folder, "UPDATE lpstudy_leases SET token = NULL, holder = ?, told = ?", text(holder), text(told))
    rename = "UPDATE studies SET study_name = replace(study_name, 'bp-convnet', ?)"
    damage(folder, rename, hostile.replace("\n", ""))
    damage(folder, "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'cause'", text(hostile))
    provenance = text({"command": hostile})
    damage(folder, "UPDATE study_user_attributes SET value_json = ? WHERE key = 'provenance'", provenance)
    for command, main in COMMANDS.items():
        left = call(main, folder, *([] if command == "list" else ["held"]))
        for line in (left.out + left.err).split("\n"):
            assert line.isprintable(), (command, line)
        assert command == "export" or "\\x1b[2J" in left.out + left.err, left


def test_a_whole_ledger_is_read_by_each_command(folder: Path) -> None:
    found = call(COMMANDS["status"], folder)
    assert found.code == 0
    assert "held: " in found.out
    assert "6 of 6 runs" in found.out
    assert call(COMMANDS["list"], folder).code == 0
    assert call(COMMANDS["export"], folder, "held").code == 0
