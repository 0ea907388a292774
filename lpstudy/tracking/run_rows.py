"""MLflow's runs as rows of the report's frames, each value validated; invalid ones are refused by name."""

import json
import math
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any, get_args

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from lpstudy.correctness import MAX_IMAGES, check_record, unpack
from lpstudy.damage import SHIFT, DamagedError, check_figure
from lpstudy.ledger import State, check_searched
from lpstudy.space import Arm, Fixed, Scalar, StudySpec
from lpstudy.space.ranges import read_list
from lpstudy.tracking.artifact_files import download
from lpstudy.tracking.client import KEY, tag
from lpstudy.tracking.frames import NUMBER_COLUMNS, curve_metrics, design_columns, time_of
from lpstudy.tracking.run_writer import TEST_CORRECT, digest

STATES = (*get_args(State), "paused")
MAX_INFEASIBLE = 100_000
"""The most infeasible designs of an arm; each is a row."""
MAX_NUMBER = 1_000_000
"""The largest number of a trial, seed, attempt or epoch."""
MAX_RECORD_BYTES = MAX_IMAGES // 6 + 20
"""The most bytes of a final's record of test images."""
TOLERANCE = 1e-6
"""Percentage points by which a final's test accuracy may differ from that of its record."""


class RunReader:
    """Reads a study's runs as rows.

    Args:
        client: A connected client.
        study: The study's name.
        spec: The study's spec.
    """

    def __init__(self, client: MlflowClient, study: str, spec: StudySpec) -> None:
        self._client, self._study = client, study
        self._arms = {arm.name: arm for arm in spec.arms()}

    def arm(self, run: Run) -> Arm:
        """The arm of a run; raises as `row`."""
        name = self._tag(run, "arm")
        if name not in self._arms:
            raise self._damaged(run, tag("arm"), f"must be one of {', '.join(self._arms)} but is {name}")
        return self._arms[name]

    def row(self, run: Run) -> dict[str, object]:
        """The row of a trial or final.

        Raises:
            DamagedError: The run is not as lpstudy writes it.
        """
        arm = self.arm(run)
        values = self._values(run, arm)
        try:
            spec = arm.student_spec(values)
        except ValueError as error:
            raise self._damaged(run, "params", error) from None
        state = self._tag(run, "state")
        if state not in STATES:
            raise self._damaged(run, tag("state"), f"must be one of {', '.join(STATES)} but is {state}")
        shifts = [name for name in run.data.metrics if name.startswith(SHIFT)]
        numbers = {name: self._figure(run, name) for name in (*NUMBER_COLUMNS, *shifts)}
        if state == "finished" and numbers["validation_accuracy"] is None:
            raise self._damaged(run, "validation_accuracy", "is missing")
        return {
            "run_id": run.info.run_id,
            "kind": self._tag(run, "kind"),
            **design_columns(arm, spec),
            "trial": self._number(run, "trial"),
            "seed": self._number(run, "seed"),
            "attempt": self._number(run, "attempt", missing="1"),
            "state": state,
            "epochs": self._number(run, "epochs") if tag("epochs") in run.data.tags else None,
            **numbers,
            "started": time_of(run.info.start_time),
            "ended": None if state in ("running", "paused") else time_of(run.info.end_time),
            "hyperparameters": values,
            "searched": {name: values[name] for name in arm.searched},
            "warnings": _warnings(run.data.tags.get(tag("warnings"), "[]")),
            "test_correct": self._test_correct(run),
        }

    def infeasible(self, run: Run) -> list[dict[str, object]]:
        """A row for each infeasible design of an arm, used only for counting."""
        arm, key = self.arm(run), "trials_infeasible"
        count = run.data.metrics.get(key, 0)
        if not 0 <= count <= MAX_INFEASIBLE or count != int(count):
            raise self._damaged(run, key, f"must be a count up to {MAX_INFEASIBLE} but is {count:g}")
        row: dict[str, object] = {"run_id": "", "kind": "trial", "arm": arm.name, "method": arm.method}
        row |= {"state": "infeasible", "student": arm.student.label, "family": arm.student.family}
        row |= {"hyperparameters": {}, "searched": {}, "warnings": []}
        return [row] * int(count)

    def curves(self, run: Run) -> Iterator[dict[str, object]]:
        """The points of a final's curves; raises as `row`."""
        arm = self.arm(run)
        columns = {"run_id": run.info.run_id, "arm": arm.name, "kind": "final"}
        columns |= {"trial": self._number(run, "trial"), "seed": self._number(run, "seed")}
        for name in curve_metrics(arm):
            if name not in run.data.metrics:
                continue
            for point in self._client.get_metric_history(run.info.run_id, name):
                if not isinstance(point.step, int) or not 0 <= point.step <= MAX_NUMBER:
                    raise self._damaged(run, name, f"has a step {point.step!r:.40}")
                try:
                    value = check_figure(name, point.value)
                except ValueError as error:
                    raise self._damaged(run, name, error) from None
                yield {**columns, "epoch": point.step, "metric": name, "value": value}

    def _values(self, run: Run, arm: Arm) -> dict[str, Fixed]:
        """The hyperparameters with the types of the study file; parameters added by hand are ignored."""
        values: dict[str, Fixed] = {}
        for name in (*arm.searched, *arm.fixed):
            text = run.data.params.get(name)
            if text is None and name in arm.searched:
                raise self._damaged(run, f"params.{name}", "is missing")
            if text is None:
                continue
            try:
                if name in arm.searched:
                    values[name] = scalar = _scalar(text, arm, name)
                    check_searched(arm, name, scalar)
                else:
                    values[name] = parse_fixed(text, arm, name)
            except ValueError as error:
                raise self._damaged(run, f"params.{name}", error) from None
        return values

    def _figure(self, run: Run, name: str) -> float | None:
        if name not in run.data.metrics:
            return None
        try:
            return check_figure(name, run.data.metrics[name])
        except ValueError as error:
            raise self._damaged(run, name, error) from None

    def _number(self, run: Run, name: str, missing: str | None = None) -> int:
        text = self._tag(run, name, missing)
        if not text.isascii() or not text.isdigit() or len(text) > 7 or int(text) > MAX_NUMBER:
            raise self._damaged(run, tag(name), f"must be a number up to {MAX_NUMBER} but is {text}")
        return int(text)

    def _tag(self, run: Run, name: str, missing: str | None = None) -> str:
        text = run.data.tags.get(tag(name), missing)
        if text is None:
            raise self._damaged(run, tag(name), "is missing")
        return str(text)

    def _test_correct(self, run: Run) -> str:
        """A final's record of test images; empty without one, as in finals of older versions."""
        expected = run.data.tags.get(tag("test_correct"))
        if expected is None:
            return ""
        with TemporaryDirectory() as folder:
            path = download(self._client, run.info.artifact_uri, TEST_CORRECT, folder)
            if path.stat().st_size > MAX_RECORD_BYTES:
                raise self._damaged(run, TEST_CORRECT, f"has more than {MAX_RECORD_BYTES} bytes")
            record = path.read_bytes().decode("ascii", "replace")
        if digest(record) != expected:
            raise self._damaged(run, TEST_CORRECT, "has another SHA-256: lpstudy reconcile writes it again")
        try:
            record_accuracy = 100 * float(unpack(record).mean())
            check_record(record)
        except ValueError as error:
            raise self._damaged(run, TEST_CORRECT, error) from None
        accuracy = run.data.metrics.get("test_accuracy", math.nan)
        if not abs(record_accuracy - accuracy) <= TOLERANCE:
            problem = f"says {record_accuracy:.4f} %, test_accuracy {accuracy:.4f} %"
            raise self._damaged(run, TEST_CORRECT, problem)
        return record

    def _damaged(self, run: Run, key: str, problem: object) -> DamagedError:
        name = run.data.tags.get(KEY) or run.info.run_id
        return DamagedError("MLflow", self._study, key, problem, run=name)


def _warnings(text: str) -> list[str]:
    """A run's warnings; a single text where the tag was truncated."""
    try:
        texts = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return [str(one) for one in texts] if isinstance(texts, list) else [text]


def parse_fixed(text: str, arm: Arm, name: str) -> Fixed:
    """Parse a fixed hyperparameter; raises as `_scalar`."""
    fixed = arm.fixed[name]
    if not isinstance(fixed, tuple):
        return _scalar(text, arm, name)
    element = str if all(isinstance(entry, str) for entry in fixed) else float
    try:
        return read_list(json.loads(text), element)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _scalar(text: str, arm: Arm, name: str) -> Scalar:
    """Parse a parameter to its type in the study file; MLflow stores text only.

    Raises:
        ValueError: The text is not such a value.
    """
    space: Any = arm.searched.get(name, arm.fixed.get(name))
    for choice in getattr(space, "choices", ()):
        if str(choice) == text:
            return choice  # type: ignore[no-any-return]  # one of Choices
    if isinstance(space, bool):
        return text == "True"
    if isinstance(space, str):
        return text
    value = int(text) if arm.integer(name) else float(text)
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number but is {text}")
    return value
