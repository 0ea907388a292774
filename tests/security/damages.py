"""Values that lpstudy never writes to a ledger, by their column."""

import json
from collections.abc import Sequence
from typing import Any

SPACE = {
    "name": "held",
    "data": {"kind": "digits"},
    "teacher": {"family": "convnet", "depth": 2, "width": 4},
    "students": [{"family": "convnet", "depth": {"low": 2, "high": 3}, "width": 4}],
    "methods": {"bp": {}, "kd": {"temperature": {"choices": [2.0, 4.0]}}},
    "training": {"learning_rate": {"low": 1e-3, "high": 0.1, "log": True}},
    "budget": {"trials": 2, "epochs": 2, "seeds": 1},
    "finals": {"candidates": 1},
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


def text(value: object) -> str:
    return json.dumps(value)


NO_JSON: Sequence[object] = ("not json", "[", "[" * 100_000, "", None, b"\xff\xfe", '"\\ud800', "9" * 5000)
"""Wrong values of any JSON column."""
OBJECTS, LISTS, TEXTS = ("{}", '{"a": [1]}'), ("[]", "[3]", '["a", null]'), ('"a"',)
NUMBERS = ("0", "-1", "1.5", "1e999", "NaN", "1e308", "123456789012345678901234567890")
OTHER = ("null", "true")


def other_than(*kinds: Sequence[str]) -> list[object]:
    """Wrong values for a field of the given kinds."""
    every = (OBJECTS, LISTS, TEXTS, NUMBERS, OTHER)
    return [*NO_JSON, *(value for kind in every if kind not in kinds for value in kind)]


SPEC: dict[str, Any] = SPACE
DEFINITION = {"method": {}, "student": {"family": "convnet"}}
ARMS: dict[str, Any] = {
    "shown": ["bp-convnet", "kd-convnet"],
    "definitions": {"bp-convnet": DEFINITION, "kd-convnet": DEFINITION},
    "growth": [],
}
OUTPUTS: dict[str, Any] = {"views": 2, "banked": ["logits"], "online": []}
WARM_START: dict[str, Any] = {"study": "other", "points": {"kd-convnet": [{"width": 4}]}, "notes": []}
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
    "arms": [
        *other_than(),
        *(text({**ARMS, key: 3}) for key in ARMS),
        text({**ARMS, "shown": []}),
        text({**ARMS, "shown": ["bp-convnet", "other"]}),
        text({**ARMS, "growth": [{"time": -1, "version": "0", "runs": 0}]}),
    ],
    "outputs": [*other_than(), *(text({**OUTPUTS, key: -1}) for key in OUTPUTS)],
    "warm_start": [*other_than(), *(text({**WARM_START, key: 3}) for key in WARM_START)],
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
        '{"rate": NaN}', '{"rate": 1e308}', '{"request": "hop"}',
    ],
    "wish": ["", "hop", 3, b"\xff"],
    "wished": ["x", -1, b"\xff"],
}  # fmt: skip
