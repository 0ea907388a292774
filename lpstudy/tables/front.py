"""The fronts of arms whose depth or width is searched: designs with finals, and hypervolume per method."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lpstudy.tables.arms import BASELINE, ArmResult, mean, number
from lpstudy.tables.facts import StudyFacts
from lpstudy.tables.hypervolume import hypervolume_scores
from lpstudy.tables.intervals import LEVEL, Interval, interval
from lpstudy.tables.looks import corrected, t_test
from lpstudy.tables.scores import Scores
from lpstudy.tables.search_spread import mean_scores, pooled_spread

OCTAVE = 2.0
"""The reference point has so many times the MACs of the largest design, so that this one counts too."""
FRONT_COLUMNS = (
    "method",
    "student",
    "design",
    "depth",
    "width",
    "trial",
    "macs",
    "parameters",
    "latency_ms",
    "selected_by",
    "validation_accuracy",
    "accuracy_mean",
    "accuracy_low",
    "accuracy_high",
    "seeds",
)
HYPERVOLUME_COLUMNS = (
    "method",
    "student",
    "designs",
    "hypervolume_mean",
    "hypervolume_low",
    "hypervolume_high",
    "seeds",
    "delta_bp_mean",
    "delta_bp_low",
    "delta_bp_high",
    "delta_bp_p_holm",
    "macs_low",
    "macs_high",
)


@dataclass(frozen=True)
class Front:
    """The front of an arm: what its students reach for their MACs."""

    result: ArmResult
    designs: tuple[ArmResult, ...]
    """The results of its designs that have a finished final, by rising MACs."""
    scores: Scores
    """The hypervolume of each seed, in percent of accuracy."""
    delta: Interval
    """Hypervolume less that of back-prop's front, paired by seed; empty where there is none."""
    p_value: float
    """Of that difference, with Holm's correction over the methods of the student."""
    limits: tuple[float, float]
    """The MACs between which the hypervolume is taken."""

    @property
    def is_beyond_noise(self) -> bool:
        """Whether a difference to back-prop may be claimed."""
        return bool(self.p_value < LEVEL)


def macs_of(design: ArmResult) -> float:
    """The MACs of one image's forward pass; NaN where they are not known."""
    return number(None if design.winner is None else design.winner["macs"])


def fronts(study: StudyFacts, results: Sequence[ArmResult]) -> list[Front]:
    """The front of each arm whose depth or width is searched; none where every arm has one design."""
    searched = [one for one in results if one.arm.objectives > 1]
    designs = {one.arm.name: [d for d in one.designs if d.accuracy.n] for one in searched}
    if not any(len(own) > 1 for own in designs.values()):
        return []
    by_arm: dict[str, Front] = {}
    for student in dict.fromkeys(one.arm.student for one in searched):
        own = [one for one in searched if one.arm.student == student and designs[one.arm.name]]
        by_arm |= {front.result.arm.name: front for front in _fronts(study, own, designs)}
    return [by_arm[one.arm.name] for one in searched if one.arm.name in by_arm]


def _fronts(
    study: StudyFacts, results: Sequence[ArmResult], designs: dict[str, list[ArmResult]]
) -> list[Front]:
    """The fronts of one student, over the same range of MACs."""
    sizes = [macs_of(design) for one in results for design in designs[one.arm.name]]
    limits = (min(sizes, default=np.nan), OCTAVE * max(sizes, default=np.nan))
    by_search = [
        [
            hypervolume_scores(_points(own), limits, floor=100 / study.classes)
            for own in _by_search(designs[one.arm.name])
        ]
        for one in results
    ]
    spread = pooled_spread([group for group in by_search if len(group) > 1])
    scores = [group[0] if len(group) == 1 else mean_scores(group, spread) for group in by_search]
    pairs = list(zip(results, scores, strict=True))
    base = next((own for one, own in pairs if one.arm.method == BASELINE), None)
    compared = [None if base is None or one.arm.method == BASELINE else (own, base) for one, own in pairs]
    deltas = [interval([]) if pair is None else pair[0].less(pair[1]) for pair in compared]
    adjusted = corrected(compared, t_test, results[0].looks if results else ())
    return [
        Front(one, tuple(sorted(designs[one.arm.name], key=macs_of)), own, delta, p, limits)
        for (one, own), delta, p in zip(pairs, deltas, adjusted, strict=True)
    ]


def _by_search(designs: Sequence[ArmResult]) -> list[list[ArmResult]]:
    """The designs of each search of an arm."""
    groups: dict[str, list[ArmResult]] = {}
    for design in designs:
        groups.setdefault(design.arm.name, []).append(design)
    return list(groups.values())


def _points(designs: Sequence[ArmResult]) -> list[tuple[float, Scores]]:
    return [(macs_of(design), design.scores) for design in designs]


def front_table(study: StudyFacts, all_fronts: Sequence[Front]) -> pd.DataFrame:
    """One row per design with finals of each front, for front.csv."""
    rows = []
    for front in all_fronts:
        for design in front.designs:
            run, accuracy = design.winner, design.accuracy
            if run is None:
                continue
            row = None if study.latency is None else study.latency.single_image(design.winner_label)
            cells = (
                front.result.arm.method,
                front.result.arm.student,
                design.winner_label,
                *(run[name] for name in ("depth", "width", "trial", "macs", "parameters")),
                None if row is None else row.median_ms,
                design.selected_by,
                mean(design.finished_finals["validation_accuracy"]),
                *(accuracy.mean, accuracy.low, accuracy.high, accuracy.n),
            )
            rows.append(cells)
    whole = ("depth", "width", "trial", "macs", "parameters", "seeds")
    table = pd.DataFrame(rows, columns=list(FRONT_COLUMNS))
    return table.astype(dict.fromkeys(whole, "Int64") | {"latency_ms": "float64"})


def hypervolume_table(all_fronts: Sequence[Front]) -> pd.DataFrame:
    """One row per front, for hypervolume.csv."""
    rows = []
    for front in all_fronts:
        value, delta = front.scores.mean, front.delta
        rows.append(
            (
                *(front.result.arm.method, front.result.arm.student, len(front.designs)),
                *(value.mean, value.low, value.high, value.n),
                *(delta.mean, delta.low, delta.high, front.p_value),
                *front.limits,
            )
        )
    return pd.DataFrame(rows, columns=list(HYPERVOLUME_COLUMNS))
