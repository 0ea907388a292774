"""Latency of a study's designs: judged before the first trial, and measured for the report at the end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lpstudy.command.exits import errors_as_bad_input
from lpstudy.command.phase_progress import PhaseProgress
from lpstudy.data import Data
from lpstudy.deployment.latency import BATCHES, LatencyTable, machine, measure_latency
from lpstudy.deployment.onnx_file import check_packages, write_onnx
from lpstudy.ledger import DESIGN_LATENCIES, LATENCY, POINTS, Ledger
from lpstudy.space import LatencyTarget, StudySpec
from lpstudy.students import StudentSpec, build
from lpstudy.tables.latency import TEACHER_MODEL
from lpstudy.teacher import input_of
from lpstudy.teacher.teacher_input import input_shape_of

MAX_DESIGNS = 64
"""The most designs that are measured for a limit: each takes seconds."""
RUNTIMES = ("onnxruntime", "torch")


def check_latency(spec: StudySpec) -> None:
    """Refuse what cannot be measured here, before anything starts.

    Raises:
        ValueError: A package or the GPU is missing, or a limit needs too many measurements.
    """
    limit = spec.constraints.max_latency_ms
    if not spec.cost.latency and limit is None:
        return
    try:
        check_packages()
    except ValueError as error:
        raise ValueError(f"[cost] latency and [constraints] max_latency_ms: {error}") from None
    if "cuda" in spec.cost.latency and not torch.cuda.is_available():
        raise ValueError("[cost] latency: cuda is given, but torch sees no GPU on this machine")
    if limit is not None and (count := len(designs_of(spec))) > MAX_DESIGNS:
        raise ValueError(
            f"[constraints] max_latency_ms: {count} designs would be measured, at most {MAX_DESIGNS}: give"
            " depth and width a step or choices"
        )


def designs_of(spec: StudySpec) -> dict[str, StudentSpec]:
    """Every design that an arm may train, by its label."""
    designs = {}
    for arm in spec.arms():
        for values in arm.student.sizes():
            student = arm.student_spec(values)
            designs[student.label()] = student
    return designs


def limit_target(spec: StudySpec) -> LatencyTarget:
    """Where the limit's latency is measured."""
    return spec.cost.latency[0] if spec.cost.latency else "cpu-1"


def design_latencies(spec: StudySpec, data: Data) -> dict[str, float]:
    """Milliseconds of one image's forward pass of every design, by label; empty without a limit.

    Raises:
        ValueError: A design cannot be written as ONNX.
    """
    if spec.constraints.max_latency_ms is None:
        return {}
    designs, target = designs_of(spec), limit_target(spec)
    progress = PhaseProgress()
    progress.say(f"latency: measuring {len(designs)} designs on {target}")
    with TemporaryDirectory() as folder:
        models: dict[str, Path] = {}
        for label, student in designs.items():
            progress.show(f"latency: writing {label} as ONNX")
            models[label] = _write(student, data.input_shape, data.classes, Path(folder))
        table = measure_latency(models, data.input_shape, targets=(target,), batches=(1,))
    return {row.model: row.median_ms for row in table.rows}


def judged_latencies(spec: StudySpec, data: Data) -> dict[str, float]:
    """The designs' latencies where they are limited: see `design_latencies`.

    Raises:
        ValueError: A design cannot be measured, or an arm has no design within the limit.
    """
    latencies = design_latencies(spec, data)
    _check_fastest(spec, latencies)
    return latencies


def _check_fastest(spec: StudySpec, latencies: Mapping[str, float]) -> None:
    limit = spec.constraints.max_latency_ms
    if limit is None:
        return
    for arm in spec.arms():
        fastest = min(latencies[arm.student_spec(values).label()] for values in arm.student.sizes())
        if fastest > limit:
            raise ValueError(
                f"students: {arm.student.label}: no design is within [constraints] max_latency_ms ="
                f" {limit:g}; the fastest takes {fastest:.3g} ms"
            )


def judge_designs(ledger: Ledger, data: Data) -> None:
    """Measure the designs once in the study's life where their latency is limited, and store the figures.

    Raises:
        BadInputError: An arm has no design within the limits.
    """
    spec = ledger.spec
    known = ledger.limits.latencies
    if spec.constraints.max_latency_ms is None or designs_of(spec).keys() <= known.keys():
        return
    with errors_as_bad_input():
        latencies = {**design_latencies(spec, data), **known}
        _check_fastest(spec, latencies)
    ledger.limits.latencies = latencies
    ledger.set_fact(DESIGN_LATENCIES, latencies)
    ledger.set_fact(POINTS, ledger.limits.points(ledger.arms))


def measure_winners(ledger: Ledger, data: Data) -> bool:
    """Measure teacher and winners, unless the ledger has their figures; returns whether it was done."""
    spec = ledger.spec
    targets, designs = spec.cost.latency, _winners(ledger)
    if not targets or _is_measured(ledger.facts.get(LATENCY), targets, designs):
        return False
    progress = PhaseProgress()
    progress.say(f"latency: measuring {len(designs) + 1} networks on {', '.join(targets)}")
    shape = input_shape_of(input_of(spec.teacher, data), data)
    tables = [
        _measure({TEACHER_MODEL: spec.teacher.network}, shape, data.classes, targets),
        _measure(designs, data.input_shape, data.classes, targets),
    ]
    fact = {
        "machine": asdict(machine()),
        "rows": [row for table in tables for row in table["rows"]],
        "skipped": list(dict.fromkeys(line for table in tables for line in table["skipped"])),
    }
    ledger.set_fact(LATENCY, fact)
    return True


def _winners(ledger: Ledger) -> dict[str, StudentSpec]:
    designs = {}
    for name, arm in ledger.arms.items():
        for finalist in ledger.finals_progress(name).finalists:
            student = arm.student_spec(finalist.params)
            designs[student.label()] = student
    return designs


def _is_measured(
    fact: Mapping[str, Any] | None, targets: Sequence[str], designs: Mapping[str, StudentSpec]
) -> bool:
    if fact is None:
        return False
    skipped = {line.partition(":")[0] for line in fact["skipped"]}
    rows = {(row["model"], row["target"]) for row in fact["rows"]}
    return all(
        (label, target) in rows or target in skipped or label in skipped
        for label in designs
        for target in targets
    )


def _measure(
    designs: Mapping[str, StudentSpec],
    input_shape: tuple[int, int, int],
    classes: int,
    targets: Sequence[LatencyTarget],
) -> dict[str, Any]:
    """The latency table of some designs with both runtimes, as JSON."""
    models: dict[str, Any] = {}
    skipped = []
    with TemporaryDirectory() as folder:
        for label, student in designs.items():
            models[f"{label} torch"] = _network(student, input_shape, classes)
            try:
                models[f"{label} onnxruntime"] = _write(student, input_shape, classes, Path(folder))
            except ValueError as error:
                skipped.append(f"{label}: {error}")
        table = measure_latency(models, input_shape, targets=targets, batches=BATCHES)
    return {
        "rows": [
            {**asdict(row), "model": row.model.rpartition(" ")[0]} for row in sorted_rows(table, [*designs])
        ],
        "skipped": [*skipped, *table.skipped],
    }


def sorted_rows(table: LatencyTable, labels: Sequence[str]) -> Iterator[Any]:
    """The rows by design, target, batch and runtime."""
    return iter(
        sorted(
            table.rows,
            key=lambda row: (labels.index(row.model.rpartition(" ")[0]), row.target, row.batch, row.runtime),
        )
    )


def _network(student: StudentSpec, input_shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network of a design with random weights, which do not change its latency."""
    spec = student.model_copy(update={"weights": None})
    return build(spec, input_shape=input_shape, classes=classes).eval()


def _write(student: StudentSpec, input_shape: tuple[int, int, int], classes: int, folder: Path) -> Path:
    path = folder / f"{student.label()}.onnx"
    write_onnx(_network(student, input_shape, classes), input_shape, path)
    return path
