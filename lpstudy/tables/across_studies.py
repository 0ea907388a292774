"""Methods over several studies: wins, ties and losses, and mean ranks with a Friedman test."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import factorial, inf, isfinite, nan, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import fdtrc
from scipy.stats import rankdata, studentized_range

from lpstudy.tables.arms import BASELINE, ArmResult
from lpstudy.tables.intervals import CONFIDENCE
from lpstudy.tables.pairs import DISTILLATION
from lpstudy.tables.study_results import StudyResults
from lpstudy.tables.verdicts import Verdict, verdicts

RIVALS = (BASELINE, DISTILLATION)
"""The methods that all are compared with."""
FEWEST_STUDIES = 6
"""Studies below which no Friedman test is made. With 3 methods that do not differ its p-value is below 5 % in
20 % of draws of 3 studies, 7 % of 4 and 4 to 6 % from 5 on; and only from 6 on could a sign test tell even a
pair that agrees in all of them (2 / 2^6 = 0.03)."""
BLOCK_COLUMNS = (
    "study",
    "student",
    "method",
    "accuracy_mean",
    "seeds",
    "rank",
    *(f"{part}_{rival}" for rival in RIVALS for part in ("delta", "p_holm", "outcome")),
)
METHOD_COLUMNS = (
    "method",
    *(f"{part}_{rival}" for rival in RIVALS for part in ("wins", "ties", "losses", "not_compared")),
    "mean_rank",
    "blocks",
)


@dataclass(frozen=True)
class Block:
    """One student of one study: what its methods are ranked within."""

    study: str
    results: tuple[ArmResult, ...]

    @property
    def student(self) -> str:
        """The student's label."""
        return self.results[0].arm.student

    @cached_property
    def by_method(self) -> dict[str, ArmResult]:
        """The results that have a test accuracy, by method."""
        return {one.arm.method: one for one in self.results if one.accuracy.n}

    @cached_property
    def against(self) -> dict[str, dict[str, Verdict]]:
        """For each rival that the block has, the verdict on each other method."""
        methods = {one.arm.method for one in self.results}
        return {
            rival: {
                one.result.arm.method: one
                for one in verdicts(self.results, rival)
                if one.result.arm.method != rival
            }
            for rival in RIVALS
            if rival in methods
        }

    def has_one_size(self, methods: Sequence[str]) -> bool:
        """Whether all of the methods have results, of networks of one size."""
        if not set(methods) <= self.by_method.keys():
            return False
        return len({self.by_method[method].design for method in methods}) == 1


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a method was better, told from nothing, worse, or not compared."""

    wins: int = 0
    ties: int = 0
    losses: int = 0
    not_compared: int = 0


def blocks_of(studies: Sequence[StudyResults]) -> list[Block]:
    """The students of each study, in their order."""
    blocks = []
    for study in studies:
        results = study.arms
        for student in dict.fromkeys(one.arm.student for one in results):
            own = tuple(one for one in results if one.arm.student == student)
            blocks.append(Block(study.facts.name, own))
    return blocks


def methods_of(blocks: Sequence[Block]) -> list[str]:
    """All methods, in the order of their first block."""
    return list(dict.fromkeys(one.arm.method for block in blocks for one in block.results))


def outcome(verdict: Verdict | None) -> str:
    """Win, tie or loss, by the corrected test of the study's report; "" where it has none."""
    if verdict is None or not isfinite(verdict.p_value):
        return ""
    return "win" if verdict.is_better else "loss" if verdict.is_worse else "tie"


def tally(blocks: Sequence[Block], method: str, rival: str) -> Tally:
    """A method's outcomes against a rival, over the blocks that have the method."""
    own = [block for block in blocks if any(one.arm.method == method for one in block.results)]
    outcomes = [outcome(block.against.get(rival, {}).get(method)) for block in own]
    return Tally(outcomes.count("win"), outcomes.count("tie"), outcomes.count("loss"), outcomes.count(""))


def _ranks(values: Sequence[object], methods: int) -> NDArray[np.float64]:
    """The rank of each value within its row, shape (rows, methods); equal ones have the mean of theirs."""
    ranks: NDArray[np.float64] = rankdata(np.array(values).reshape(len(values), methods), axis=1)
    return ranks


@dataclass(frozen=True)
class Ranking:
    """The ranks of methods within the blocks that all of them share."""

    methods: tuple[str, ...]
    blocks: tuple[Block, ...]

    @cached_property
    def ranks(self) -> NDArray[np.float64]:
        """Shape (blocks, methods): 1 for the highest mean test accuracy; ties have the mean of theirs."""
        accuracies = [
            [-block.by_method[method].accuracy.mean for method in self.methods] for block in self.blocks
        ]
        return _ranks(accuracies, len(self.methods))

    @property
    def mean(self) -> dict[str, float]:
        """Each method's mean rank over the blocks; empty without blocks."""
        if not self.blocks:
            return {}
        return {method: float(one) for method, one in zip(self.methods, self.ranks.mean(axis=0), strict=True)}

    @cached_property
    def of_studies(self) -> NDArray[np.float64]:
        """Shape (studies, methods): the mean ranks within each study, ranked again.

        Students of one study share data, teacher and test images, so that they are one observation.
        """
        names = [block.study for block in self.blocks]
        means = [self.ranks[[name == study for name in names]].mean(axis=0) for study in dict.fromkeys(names)]
        return _ranks(means, len(self.methods))

    @cached_property
    def test(self) -> "FriedmanTest | None":
        """The test over studies; None for fewer than FEWEST_STUDIES, or one method."""
        if len(self.methods) < 2 or not self.blocks or len(self.of_studies) < FEWEST_STUDIES:
            return None
        return friedman(self.of_studies)


def ranking(blocks: Sequence[Block], methods: Sequence[str] | None = None) -> Ranking:
    """The ranking of methods over the blocks where each has a result, of networks of one size.

    Args:
        blocks: The blocks.
        methods: The methods; None: those that every study has, without those whose students have added parts.

    Raises:
        ValueError: No study has a method of this name.
    """
    known = methods_of(blocks)
    for name in methods or ():
        if name not in known:
            raise ValueError(f"no study has a method {name!r}; they have {', '.join(known)}")
    enlarged = {one.arm.method for block in blocks for one in block.results if one.has_added_parts}
    studies = {block.study for block in blocks}
    chosen = tuple(
        methods or (one for one in known if one not in enlarged and _studies(blocks, one) == studies)
    )
    shared = tuple(block for block in blocks if block.has_one_size(chosen)) if chosen else ()
    return Ranking(chosen, shared)


def _studies(blocks: Sequence[Block], method: str) -> set[str]:
    return {block.study for block in blocks if any(one.arm.method == method for one in block.results)}


@dataclass(frozen=True, slots=True)
class FriedmanTest:
    """A test of whether any method differs, and the difference of mean ranks from which a pair does."""

    mean_ranks: tuple[float, ...]
    chi_square: float
    f: float
    """Iman and Davenport's statistic, of k - 1 and (k - 1)(N - 1) degrees of freedom."""
    p_value: float
    critical_difference: float
    """Nemenyi's, at 5 % over all pairs."""


def friedman(ranks: NDArray[np.float64]) -> FriedmanTest:
    """chi^2 = (k - 1) sum_j (R_j - N (k + 1)/2)^2 / (sum r^2 - N k (k + 1)^2/4), R_j the sums of N ranks.

    F = (N - 1) chi^2 / (N (k - 1) - chi^2); the critical difference is q sqrt(k (k + 1) / (6 N)), q the 95 %
    quantile of the studentised range of k means with infinite degrees of freedom, over the root of 2. The
    p-value of F is at least 1/(k!)^(N - 1): all rows agree as often by chance.

    Args:
        ranks: Shape (N, k): each row the ranks of k methods, ties with the mean of theirs.

    Source: Friedman (1937), JASA 32; Iman and Davenport (1980), Commun. Stat. A9; Nemenyi (1963); Demsar
    (2006), JMLR 7, section 3.2.2.
    """
    n, k = ranks.shape
    spread = float((ranks**2).sum()) - n * k * (k + 1) ** 2 / 4
    between = float(((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum())
    chi_square = (k - 1) * between / spread if spread > 0 else 0.0
    rest = n * (k - 1) - chi_square
    f = (n - 1) * chi_square / rest if rest > 1e-9 else inf
    p = float(fdtrc(k - 1, (k - 1) * (n - 1), f)) if isfinite(f) else 0.0
    least = float(factorial(k)) ** (1 - n)  # the share of draws in which all rows agree
    quantile = float(studentized_range.ppf(CONFIDENCE, k, inf)) / sqrt(2)
    means = tuple(float(one) for one in ranks.mean(axis=0))
    return FriedmanTest(means, chi_square, f, max(p, least), quantile * sqrt(k * (k + 1) / (6 * n)))


def method_table(blocks: Sequence[Block], ranked: Ranking) -> pd.DataFrame:
    """One row for each method, best mean rank first, with METHOD_COLUMNS."""
    means = ranked.mean
    rows = []
    for method in sorted(methods_of(blocks), key=lambda one: means.get(one, inf)):
        counts: list[int | None] = []
        for rival in RIVALS:
            one = tally(blocks, method, rival)
            own = (one.wins, one.ties, one.losses, one.not_compared)
            counts += own if method != rival else (None,) * len(own)
        in_blocks = len(ranked.blocks) if method in means else None
        rows.append((method, *counts, means.get(method, nan), in_blocks))
    return pd.DataFrame(rows, columns=list(METHOD_COLUMNS)).astype(
        dict.fromkeys(METHOD_COLUMNS[1:-2], "Int64") | {"blocks": "Int64"}
    )


def block_table(blocks: Sequence[Block], ranked: Ranking) -> pd.DataFrame:
    """One row for each method of each block, with BLOCK_COLUMNS."""
    ranks = {
        (id(block), method): float(rank)
        for block, row in zip(ranked.blocks, ranked.ranks if ranked.blocks else (), strict=True)
        for method, rank in zip(ranked.methods, row, strict=True)
    }
    rows = []
    for block in blocks:
        for result in block.results:
            method = result.arm.method
            cells: list[object] = []
            for rival in RIVALS:
                verdict = block.against.get(rival, {}).get(method)
                numbers = (nan, nan) if verdict is None else (verdict.delta.mean, verdict.p_value)
                cells += [*numbers, outcome(verdict)]
            accuracy, rank = result.accuracy, ranks.get((id(block), method), nan)
            rows.append((block.study, block.student, method, accuracy.mean, accuracy.n, rank, *cells))
    return pd.DataFrame(rows, columns=list(BLOCK_COLUMNS))
