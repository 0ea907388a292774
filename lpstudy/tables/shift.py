"""Accuracy of teacher and winners on shifted test images, and the methods' differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan

import numpy as np
import pandas as pd

from lpstudy.correctness import shifted_records, unpack
from lpstudy.damage import SHIFT
from lpstudy.data.shifts import ShiftName
from lpstudy.tables.arms import BASELINE, ArmResult, number
from lpstudy.tables.facts import TeacherFacts
from lpstudy.tables.intervals import LEVEL, Interval, interval
from lpstudy.tables.looks import corrected, t_test
from lpstudy.tables.scores import Scores
from lpstudy.tables.search_spread import mean_scores, pooled_spread
from lpstudy.tables.shift_columns import shift_columns

MEAN = "mean"
"""The name of the mean over the corruptions of a family in the column of corruptions."""
RIVALS = (BASELINE, "kd")
"""The methods that all are compared with on shifted images."""
_DIFFERENCE = ("mean", "low", "high", "p_holm")
SHIFT_TABLE_COLUMNS = (
    "family",
    "method",
    "student",
    "corruption",
    "severity",
    "accuracy_mean",
    "accuracy_low",
    "accuracy_high",
    "relative",
    *(f"delta_{rival}_{part}" for rival in RIVALS for part in _DIFFERENCE),
    "seeds",
    "images",
)


@dataclass(frozen=True, slots=True)
class ShiftDifference:
    """Accuracy on shifted images less that of a rival with a network of the same size."""

    delta: Interval
    """In percentage points, paired by seed and image; empty for the rival itself, or where sizes differ."""
    p_value: float = nan
    """With Holm's correction over the methods of a student, of the mean over a family; else NaN."""

    @property
    def is_beyond_noise(self) -> bool:
        """Whether a difference may be claimed."""
        return isfinite(self.p_value) and self.p_value < LEVEL


@dataclass(frozen=True, slots=True)
class ShiftRow:
    """The accuracy of a winner, or of the teacher, in percent on some shifted images."""

    method: str
    arm: str
    """Of the arm's name; empty for the teacher."""
    student: str
    family: str
    """Which shifts are averaged and judged together: see `lpstudy.data.shifts.ShiftName`."""
    corruption: str
    """Or MEAN, of the family."""
    severity: int | None
    """None: the mean over the severities, or another data set."""
    accuracy: Interval
    relative: float
    """Percent of the accuracy on the study's test set, by the means over the same seeds."""
    differences: Mapping[str, ShiftDifference]
    """By rival."""
    images: int
    """How many images each of the shifts has; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Shifts whose accuracy is averaged."""

    family: str
    corruption: str
    severity: int | None
    columns: tuple[str, ...]
    is_whole: bool = False
    """Whether it is all of its family, over which methods are judged."""


def shift_rows(results: Sequence[ArmResult], teacher: TeacherFacts | None = None) -> list[ShiftRow]:
    """The teacher and each winner on each shift that finals were measured on, then means over corruptions.

    Empty where none was.
    """
    frames = [one.finished_finals for one in results]
    known = shift_columns({name for frame in frames for name in frame.columns})
    known = [name for name in known if any(one.final_values(name) for one in results)]
    by_arm: dict[str, list[ShiftRow]] = {one.arm.name: [] for one in results}
    rows: list[ShiftRow] = []
    for group in _groups(known):
        if teacher is not None and (row := _teacher_row(teacher, group)) is not None:
            rows.append(row)
        for row in _rows(results, _scores(results, group.columns), group):
            by_arm[row.arm].append(row)
    return [*rows, *(row for of_arm in by_arm.values() for row in of_arm)]


def shift_table(rows: Sequence[ShiftRow]) -> pd.DataFrame:
    """The rows as a table, for shift.csv."""
    cells = [
        (
            *(row.family, row.method, row.student, row.corruption, row.severity),
            *(row.accuracy.mean, row.accuracy.low, row.accuracy.high, row.relative),
            *(
                value
                for rival in RIVALS
                for of in (row.differences.get(rival, _NO_DIFFERENCE),)
                for value in (of.delta.mean, of.delta.low, of.delta.high, of.p_value)
            ),
            *(row.accuracy.n, row.images or None),
        )
        for row in rows
    ]
    table = pd.DataFrame(cells, columns=list(SHIFT_TABLE_COLUMNS))
    return table.astype({"severity": "Int64", "images": "Int64"})


def _groups(columns: Sequence[str]) -> list[_Group]:
    """Each shift alone, then the means over a family's corruptions, by severity and in all."""
    groups = []
    names = {column: ShiftName.of(column.removeprefix(SHIFT)) for column in columns}
    for family in dict.fromkeys(name.family for name in names.values() if name is not None):
        own = {column: name for column, name in names.items() if name is not None and name.family == family}
        corruptions = list(dict.fromkeys(name.corruption for name in own.values()))
        is_alone = all(name.severity is None for name in own.values())
        groups += [
            _Group(family, name.corruption, name.severity, (column,), is_whole=is_alone)
            for column, name in own.items()
        ]
        if is_alone:
            continue
        for severity in sorted({name.severity for name in own.values() if name.severity is not None}):
            at_severity = tuple(column for column, name in own.items() if name.severity == severity)
            if len(at_severity) == len(corruptions):
                groups.append(_Group(family, MEAN, severity, at_severity))
        groups.append(_Group(family, MEAN, None, tuple(own), is_whole=True))
    return groups


def _scores(results: Sequence[ArmResult], columns: Sequence[str]) -> list[Scores]:
    """The mean scores over some shifts, of each result."""
    searches = [[_search_scores(one, columns) for one in result.searches or (result,)] for result in results]
    spread = pooled_spread([group for group in searches if len(group) > 1])
    return [group[0] if len(group) == 1 else mean_scores(group, spread) for group in searches]


def _search_scores(result: ArmResult, columns: Sequence[str]) -> Scores:
    """The same of one search; a seed whose final lacks a shift is left out."""
    accuracy: dict[int, float] = {}
    correct = {}
    for _, row in result.finished_finals.iterrows():
        values = [number(row.get(name)) for name in columns]
        if not np.isfinite(values).all():
            continue
        seed, record = int(row["seed"]), row["test_correct"]
        accuracy[seed] = float(np.mean(values))
        lines = shifted_records(record) if isinstance(record, str) else {}
        names = [name.removeprefix(SHIFT) for name in columns]
        if all(name in lines for name in names):
            correct[seed] = np.mean([unpack(lines[name]) for name in names], axis=0)
    sizes = {len(one) for one in correct.values()}
    return Scores(accuracy, sizes.pop() if len(sizes) == 1 else 0, correct)


def _rows(results: Sequence[ArmResult], scores: Sequence[Scores], group: _Group) -> list[ShiftRow]:
    """The rows of a group, one for each result."""
    differences = {rival: _differences(results, scores, rival, group) for rival in RIVALS}
    rows = []
    for place, (result, own) in enumerate(zip(results, scores, strict=True)):
        clean = [result.scores.accuracy[seed] for seed in own.accuracy if seed in result.scores.accuracy]
        base = float(np.mean(clean)) if 0 < len(clean) == len(own.accuracy) else nan
        rows.append(
            ShiftRow(
                method=result.arm.method,
                arm=result.arm.name,
                student=result.winner_label,
                family=group.family,
                corruption=group.corruption,
                severity=group.severity,
                accuracy=own.mean if own.images else _within_percent(own.mean),
                relative=100 * own.mean.mean / base if base > 0 else nan,
                differences={rival: of[place] for rival, of in differences.items()},
                images=own.images,
            )
        )
    return rows


def _differences(
    results: Sequence[ArmResult], scores: Sequence[Scores], rival: str, group: _Group
) -> list[ShiftDifference]:
    """Each result less a rival's of the same student and size; judged where the group is a whole family."""
    pairs: list[tuple[Scores, Scores] | None] = []
    for result, own in zip(results, scores, strict=True):
        other = next(
            (
                place
                for place, one in enumerate(results)
                if one.arm.method == rival and one.arm.student == result.arm.student
            ),
            None,
        )
        is_compared = (
            other is not None and result.arm.method != rival and results[other].design == result.design
        )
        pairs.append((own, scores[other]) if is_compared and other is not None else None)
    p_values = [nan] * len(pairs)
    for student in dict.fromkeys(one.arm.student for one in results) if group.is_whole else ():
        places = [place for place, one in enumerate(results) if one.arm.student == student]
        adjusted = corrected([pairs[place] for place in places], t_test, results[places[0]].looks)
        for place, p_value in zip(places, adjusted, strict=True):
            p_values[place] = p_value
    return [
        _NO_DIFFERENCE if pair is None else ShiftDifference(pair[0].less(pair[1]), p_value)
        for pair, p_value in zip(pairs, p_values, strict=True)
    ]


def _teacher_row(teacher: TeacherFacts, group: _Group) -> ShiftRow | None:
    """The teacher's accuracy, one number without an interval; None where a shift was not measured."""
    values = [teacher.shifts.get(name.removeprefix(SHIFT), nan) for name in group.columns]
    if not np.isfinite(values).all():
        return None
    mean, clean = float(np.mean(values)), teacher.test_accuracy or nan
    return ShiftRow(
        method="teacher",
        arm="",
        student=teacher.label,
        family=group.family,
        corruption=group.corruption,
        severity=group.severity,
        accuracy=interval([mean]),
        relative=100 * mean / clean,
        differences={},
        images=0,
    )


def _within_percent(value: Interval) -> Interval:
    low, high = np.clip((value.low, value.high), 0, 100).tolist()
    return replace(value, low=low, high=high)


_NO_DIFFERENCE = ShiftDifference(interval([]))
