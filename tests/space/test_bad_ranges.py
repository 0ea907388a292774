"""A bad range or size is refused in one line: file, key, problem and allowed values."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lpstudy.space import StudySpec

TEMPERATURE = "temperature = { low = 1, high = 6 }"
NEIGHBORS = "n_neighbors = { low = 1, high = 5 }"
DEPTH = "depth = { low = 10, high = 22, step = 6 }"
RATE = "learning_rate = { low = 2e-3, high = 2e-2, log = true }"

BAD: dict[str, tuple[str, str, list[str]]] = {
    # What is wrong: text of a good study, what stands in its place, parts of the line.
    "low above high": (
        TEMPERATURE,
        "temperature = { low = 6, high = 1 }",
        ["kd.temperature: low cannot be above high", "low = 6, high = 1"],
    ),
    "depth with low above high": (
        DEPTH,
        "depth = { low = 22, high = 10, step = 6 }",
        ["students.1.depth: low cannot be above high", "low = 22, high = 10"],
    ),
    "logarithm of 0": (
        RATE,
        "learning_rate = { low = 0, high = 1, log = true }",
        ["training: learning_rate: a log range needs low > 0", "got 0"],
    ),
    "log and step": (
        RATE,
        "learning_rate = { low = 1, high = 2, log = true, step = 1 }",
        ["learning_rate: log and step exclude each other"],
    ),
    "step that misses high": (
        TEMPERATURE,
        "temperature = { low = 0.1, high = 0.6, step = 0.3 }",
        ["kd.temperature: high must be low and a multiple of step", "step = 0.3"],
    ),
    "step of 0": (
        TEMPERATURE,
        "temperature = { low = 1, high = 2, step = 0 }",
        ["kd.temperature: step must be positive", "got 0"],
    ),
    "fractional step of an integer": (
        NEIGHBORS,
        "n_neighbors = { low = 1, high = 5, step = 0.5 }",
        ["lp.n_neighbors: step must be an integer", "got 0.5"],
    ),
    "fractional step of a depth": (
        DEPTH,
        "depth = { low = 10, high = 22, step = 0.5 }",
        ["students.1", "depth: step must be an integer", "got 0.5"],
    ),
    "fractional end of an integer": (
        NEIGHBORS,
        "n_neighbors = { low = 1, high = 4.5 }",
        ["lp.n_neighbors", "valid integer", "got 4.5"],
    ),
    "word as an end": (
        TEMPERATURE,
        "temperature = { low = '1', high = 6 }",
        ["kd.temperature: low: must be a number", "got '1'"],
    ),
    "boolean as an end": (
        TEMPERATURE,
        "temperature = { low = true, high = 6 }",
        ["kd.temperature: low: must be a number", "got True"],
    ),
    "nan as an end": (
        TEMPERATURE,
        "temperature = { low = nan, high = 6 }",
        ["kd.temperature: low: must be finite", "got nan"],
    ),
    "infinity as an end": (
        TEMPERATURE,
        "temperature = { low = 1, high = inf }",
        ["kd.temperature: high: must be finite", "got inf"],
    ),
    "end that no float can hold": (
        TEMPERATURE,
        f"temperature = {{ low = 1, high = 1{'0' * 400} }}",
        ["methods.kd.temperature.high: whole numbers are at most 9223372036854775807"],
    ),
    "range without low": (
        TEMPERATURE,
        "temperature = { high = 6 }",
        ["kd.temperature: low: is missing"],
    ),
    "list for a value": (
        TEMPERATURE,
        "temperature = [1, 2]",
        ["kd.temperature: is one value, not a list", "give { choices = [...] }"],
    ),
    "no choices": (
        TEMPERATURE,
        "temperature = { choices = [] }",
        ["kd.temperature: choices cannot be empty"],
    ),
    "equal choices": (
        TEMPERATURE,
        "temperature = { choices = [2.0, 2.0] }",
        ["kd.temperature: choices must differ"],
    ),
    "list as a choice": (
        TEMPERATURE,
        "temperature = { choices = [[2.0]] }",
        ["kd.temperature: choices.0: must be a number, a string or a boolean"],
    ),
    "low end out of range": (
        TEMPERATURE,
        "temperature = { low = 0.0, high = 6.0 }",
        ["kd.temperature", "greater than 0", "got 0.0"],
    ),
    "high end out of range": (
        TEMPERATURE,
        "temperature = { low = 1.0, high = 600.0 }",
        ["kd.temperature", "less than or equal to 100", "got 600.0"],
    ),
    "choice out of range": (
        TEMPERATURE,
        "temperature = { choices = [1.0, 600.0] }",
        ["kd.temperature", "less than or equal to 100", "got 600.0"],
    ),
    "value out of range": (
        "gamma = 0.02",
        "gamma = -0.02",
        ["lp.gamma", "greater than or equal to 0", "got -0.02"],
    ),
    "rate out of range": (
        RATE,
        "learning_rate = { low = 1.0, high = 11.0 }",
        ["training: learning_rate", "less than or equal to 10", "got 11.0"],
    ),
    "checkpoint interval that is searched": (
        RATE,
        "checkpoint_seconds = { low = 1.0, high = 2.0 }",
        ["training: checkpoint_seconds: cannot be searched"],
    ),
    "precision that is searched": (
        RATE,
        'precision = { choices = ["bf16", "fp32"] }',
        ["training: precision: cannot be searched"],
    ),
    "as many neighbours as images": (
        NEIGHBORS,
        "n_neighbors = 50",
        ["methods.lp.n_neighbors: must be below training.batch_size = 50", "got 50"],
    ),
    "range that reaches as many": (
        NEIGHBORS,
        "n_neighbors = { low = 1, high = 50 }",
        ["methods.lp.n_neighbors: must be below training.batch_size = 50", "got 50"],
    ),
    "choice of as many": (
        NEIGHBORS,
        "n_neighbors = { choices = [1, 64] }",
        ["methods.lp.n_neighbors: must be below training.batch_size = 50", "got 64"],
    ),
    "smallest batch below the neighbours": (
        "batch_size = 50",
        "batch_size = { choices = [64, 4] }",
        ["methods.lp.n_neighbors: must be below training.batch_size = 4", "got 5"],
    ),
    "batch below the default neighbours": (
        f"{NEIGHBORS}\ngamma = 0.02\n\n[training]\nbatch_size = 50",
        "\n[training]\nbatch_size = 5",
        ["methods.lp.n_neighbors: must be below training.batch_size = 5", "got 5"],
    ),
    "depth that is not 6n + 4": (DEPTH, "depth = 17", ["students.1", "6n + 4 (10, 16, 22", "got 17"]),
    "depth within a range": (
        DEPTH,
        "depth = { low = 10, high = 22 }",
        ["students.1", "6n + 4 (10, 16, 22", "got 11"],
    ),
    "depth among choices": (
        DEPTH,
        "depth = { choices = [10, 18] }",
        ["students.1", "6n + 4 (10, 16, 22", "got 18"],
    ),
    "depth of the teacher": (
        'family = "convnet"\ndepth = 4',
        'family = "wrn"\ndepth = 12',
        ["teacher", "6n + 4 (10, 16, 22", "got 12"],
    ),
    "more sizes than can be looked at": (
        "width = { choices = [1, 2] }",
        "width = { low = 1, high = 60001 }",
        ["students.1", "width: a range has at most 4096 sizes", "got 60001"],
    ),
    "depth of 0": ("depth = 2", "depth = 0", ["students.0.depth", "greater than or equal to 1", "got 0"]),
    "fractional depth": ("depth = 2", "depth = 2.5", ["students.0.depth", "valid integer", "got 2.5"]),
    "logarithmic depth": (
        DEPTH,
        "depth = { low = 10, high = 22, log = true }",
        ["students.1", "depth", "log"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_is_refused_in_one_line(case: str, changed: Callable[..., StudySpec], study_file: Path) -> None:
    old, new, parts = BAD[case]
    with pytest.raises(ValueError, match=r"mine\.toml: ") as error:
        changed((old, new))
    line = str(error.value)
    assert line.startswith(f"{study_file}: ")
    assert line.isprintable()
    for part in parts:
        assert part in line
