"""A synthetic study as `tracking` reads one, with numbers from a seeded generator."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from synthetic_arms import GAINS, METHODS, RANGES, STUDENTS, TEACHER

from lpstudy.correctness import pack
from lpstudy.ledger.front_designs import front_designs
from lpstudy.methods.lp_diagnostics import DIAGNOSTICS
from lpstudy.rendering.report_files import FIGURE_NAMES, report_text
from lpstudy.tables import (
    COST_COLUMNS,
    CURVE_COLUMNS,
    RUN_COLUMNS,
    ArmFacts,
    StudyFacts,
    StudyResults,
)
from lpstudy.tables.facts import NumberRange

EPOCHS = 20
SEARCHED = NumberRange(
    1e-4, 1.0, log=True, below="{ low = 1e-06, high = 0.01, log = true }", section="training"
)


@dataclass(frozen=True)
class Frames:
    study: StudyFacts
    runs: pd.DataFrame
    curves: pd.DataFrame
    importances: dict[str, dict[str, float]]

    @property
    def results(self) -> StudyResults:
        return StudyResults(self.study, self.runs, self.curves)


def runs_frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    counts = "trial seed attempt epochs depth width parameters macs auxiliary_parameters"
    whole = (*counts.split(), *COST_COLUMNS)
    real = ("validation_accuracy", "test_accuracy", "training_macs", "teacher_macs", "seconds")
    frame["started"] = [1.7e9 + 5 * place for place in range(len(frame))]
    frame["ended"] = frame["started"] + 9.5
    return frame.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "float64"))


def record(accuracy: float, images: int = 10_000) -> dict[str, object]:
    """A test accuracy in percent and its record of test images; the errors of two finals are nested."""
    correct = np.arange(images) < round(accuracy * images / 100)
    return {"test_accuracy": 100 * correct.mean(), "test_correct": pack(correct)}


def curves_frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))
    return frame.astype({"trial": "Int64", "seed": "Int64", "epoch": "Int64", "value": "float64"})


def facts(arms: tuple[ArmFacts, ...], **changes: object) -> StudyFacts:
    columns: dict[str, object] = {
        "name": "mnist",
        "data": "mnist",
        "classes": 10,
        "train_samples": 1000,
        "validation_samples": 12000,
        "test_samples": 10000,
        "teacher": TEACHER,
        "arms": arms,
        "budget": {"trials per arm": "12", "epochs": "20", "seeds of the finals": "5"},
        "provenance": {
            "data": "sha256 5f3a9c81d2",
            "commit": "0a1b2c3d",
            "versions": "torch 2.15.0, ray 2.60.0, optuna 5.0.0, mlflow 3.17.2, Python 3.11.2",
            "machine": "2 CPU cores, Linux",
            "command": "python -m lpstudy.sweep mnist --trials 12 --data-root /home/someone/data",
        },
        "experiment_id": "7",
    }
    return StudyFacts(**(columns | changes))


def make(
    methods: tuple[str, ...] = METHODS,
    students: tuple[str, ...] = tuple(STUDENTS),
    seeds: int = 5,
    trials: int = 12,
    generator_seed: int = 0,
) -> Frames:
    """A study with fixed students and one objective; each arm has pruned, failed and infeasible trials."""
    rng = np.random.default_rng(generator_seed)
    arms, rows, points = [], [], []
    importances: dict[str, dict[str, float]] = {}
    for student in students:
        family, depth, width, parameters, macs, level = STUDENTS[student]
        noise = {seed: rng.normal(0, 0.5) for seed in range(seeds)}  # a seed's own share, equal in all arms
        for method in methods:
            name = f"{method}-{student}"
            ranges = RANGES.get(method, {}) | {"learning_rate": "0.002 to 0.02 (log)"}
            fixed = {"batch_size": "64", "epochs": "20"}
            diagnostics = DIAGNOSTICS if method in ("lp", "lp_kd") else ()
            arms.append(
                ArmFacts(
                    name,
                    method,
                    student,
                    1,
                    ranges,
                    fixed,
                    f"arm-{name}",
                    diagnostics=diagnostics,
                    numbers=dict.fromkeys((key for key in ranges if key != "n_neighbors"), SEARCHED),
                )
            )
            weights = rng.dirichlet(np.ones(len(ranges)) * 0.7)
            importances[name] = dict(zip(ranges, map(float, weights), strict=True))
            shared = {
                "arm": name,
                "method": method,
                "student": student,
                "family": family,
                "design": None,
                "depth": depth,
                "width": width,
                "parameters": parameters,
                "macs": macs,
                "auxiliary_parameters": 9248 if method == "fitnet" else 0,
                **dict(zip(COST_COLUMNS, (36_992, 10**6, 20), strict=True)),
                "attempt": 1,
                "warnings": [],
            }
            top = level + GAINS.get(method, 0.5)
            results = []
            for trial in range(trials):
                state = "pruned" if trial % 4 == 3 else "failed" if trial == 6 else "finished"
                state = "infeasible" if trial == trials - 1 and trials > 4 else state
                collapsed = method == "lp" and trial == 2
                value = 11.3 if collapsed else top - float(rng.gamma(1.2, 1.1)) + 0.4
                value = value - 6 if state == "pruned" else value
                searched = {key: float(10 ** rng.uniform(-4, 0)) for key in ranges}
                if "n_neighbors" in ranges:
                    searched["n_neighbors"] = int(rng.choice([1, 3, 5, 8]))
                has_result = state in ("finished", "pruned")
                rows.append(
                    shared
                    | {
                        "run_id": f"{name}-t{trial}",
                        "kind": "trial",
                        "trial": trial,
                        "seed": 0,
                        "state": state,
                        "validation_accuracy": value if has_result else None,
                        "training_macs": 4e12 if has_result else None,
                        "teacher_macs": 3e12 if has_result and method != "bp" else 0.0,
                        "seconds": float(rng.uniform(8, 12)) if has_result else None,
                        "hyperparameters": searched | {"batch_size": 64},
                        "searched": searched,
                        "warnings": ["collapse: 97 % of the student's units are dead"] if collapsed else [],
                    }
                )
                if state == "finished":
                    results.append((value, trial, searched))
            if not results:
                continue
            _, best, searched = max(results, key=lambda result: result[:2])
            for seed in range(seeds):
                effect = float(rng.normal(0, 0.25))
                run = f"{name}-f{seed}"
                rows.append(
                    shared
                    | {
                        "run_id": run,
                        "kind": "final",
                        "trial": best,
                        "seed": seed,
                        "state": "finished",
                        "validation_accuracy": top + noise[seed] + effect,
                        **record(top - 0.3 + noise[seed] + effect),
                        "training_macs": 1.6e13 + (0 if method == "bp" else 4.4e13),
                        "teacher_macs": 0.0 if method == "bp" else 4.4e13,
                        "seconds": 40.0,
                        "hyperparameters": searched | {"batch_size": 64},
                        "searched": searched,
                    }
                )
                for epoch in range(1, EPOCHS + 1):
                    rate = 0.32 if method in ("kd", "lp_kd") else 0.26
                    value = 10 + (top + noise[seed] + effect - 10) * (1 - np.exp(-rate * epoch))
                    value += float(rng.normal(0, 0.3))
                    points.append((run, name, "final", best, seed, epoch, "validation_accuracy", value))
                    if method in ("lp", "lp_kd"):
                        points.append((run, name, "final", best, seed, epoch, "mean_affinity", 0.41))
                        points.append((run, name, "final", best, seed, epoch, "effective_rank", 21.5))
    return Frames(facts(tuple(arms)), runs_frame(rows), curves_frame(points), importances)


def make_searched(
    methods: tuple[str, ...] = ("bp", "kd", "lp"), trials: int = 30, designs: int = 1
) -> Frames:
    """A study with searched depth and width: two objectives, and finals of so many designs of each front."""
    rng = np.random.default_rng(7)
    arms, rows = [], []
    importances: dict[str, dict[str, float]] = {}
    for method in methods:
        name = f"{method}-convnet"
        ranges = RANGES[method] | {"depth": "2 to 6", "width": "4 to 32"}
        arms.append(ArmFacts(name, method, "convnet", 2, ranges, {"epochs": "20"}, f"arm-{name}"))
        importances[name] = dict.fromkeys(ranges, 1 / len(ranges))
        tried: list[dict[str, object]] = []
        for trial in range(trials):
            depth, width = int(rng.integers(2, 7)), int(rng.integers(4, 33))
            macs = 9000 * depth * width**2
            value = 96 - 60 / np.log(macs) ** 1.6 - float(rng.gamma(1.5, 0.6)) + GAINS[method]
            row: dict[str, object] = {
                "run_id": f"{name}-t{trial}",
                "kind": "trial",
                "arm": name,
                "method": method,
                "student": f"convnet-d{depth}-w{width}",
                "family": "convnet",
                "depth": depth,
                "width": width,
                "trial": trial,
                "seed": 0,
                "attempt": 1,
                "state": "finished",
                "validation_accuracy": value,
                "parameters": macs // 40,
                "macs": macs,
                "auxiliary_parameters": 0,
                **dict.fromkeys(COST_COLUMNS, 0),
                "training_macs": 1e12,
                "teacher_macs": 0.0,
                "seconds": 9.0,
                "hyperparameters": {"depth": depth, "width": width},
                "searched": {"depth": depth, "width": width},
                "warnings": [],
            }
            rows.append(row)
            tried.append(row)
        values = [(float(str(row["validation_accuracy"])), float(str(row["macs"]))) for row in tried]
        for place in front_designs(values, designs):
            for seed in range(3):
                rows.append(
                    tried[place]
                    | {"run_id": f"{name}-t{place}-f{seed}", "kind": "final", "seed": seed}
                    | record(values[place][0] - 0.4 + float(rng.normal(0, 0.3)))
                )
    return Frames(facts(tuple(arms), name="searched"), runs_frame(rows), curves_frame([]), importances)


@pytest.fixture(scope="session")
def make_frames() -> Callable[..., Frames]:
    return make


@pytest.fixture
def frames() -> Frames:
    return make()


@pytest.fixture
def searched_frames() -> Frames:
    return make_searched()


@pytest.fixture
def front_frames() -> Frames:
    """The same with finals of up to four designs of each front."""
    return make_searched(designs=4)


@pytest.fixture
def one(make_frames: Callable[..., Frames]) -> Frames:
    """One student, three methods, five seeds."""
    return make_frames(methods=("bp", "kd", "lp"), students=("convnet-d4-w8",))


@pytest.fixture(scope="session")
def text_of() -> Callable[[Frames], str]:
    """The report's Markdown with all figures."""

    def text(frames: Frames) -> str:
        return report_text(frames.results, FIGURE_NAMES, links="http://127.0.0.1:5000/#/runs/{}".format)

    return text
