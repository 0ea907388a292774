"""The provenance of a study's results: versions, commit, machine, command."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lpstudy.class_accuracy import MAX_LABELS, is_uneven, pack_labels
from lpstudy.command.prepare import PreparedStudy
from lpstudy.command.study_words import bank_words, chance_of
from lpstudy.data import Data
from lpstudy.data.corruptions import hash_of
from lpstudy.data.shifts import ShiftName
from lpstudy.data.split import Split
from lpstudy.ledger import dump
from lpstudy.redaction import without_credentials
from lpstudy.rendering.sections import NETWORK_REMARKS, REMARKS, TARGETS, WARM_START
from lpstudy.space import Training
from lpstudy.space.imported_code import code_words
from lpstudy.study import Backend, own_cpus
from lpstudy.teacher import TrainedTeacher

MAX_CLASSES = 20_000
"""Classes beyond which a study keeps no labels of its test set."""
SHIFTED = "hashes of shifted images"
"""The provenance key of the hashes of the first 100 images of each corruption and each other data set."""
PACKAGES = ("lpstudy", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy")


def data_facts(prepared: PreparedStudy) -> dict[str, object]:
    """The facts of a study's data for its report."""
    data = prepared.data
    return {
        "name": data.name,
        "classes": data.classes,
        "input_shape": list(data.input_shape),
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "chance": chance_of(data),
        **({} if data.train.mixture is None else {"labelled": data.train.labelled}),
        **_class_facts(data),
    }


def _class_facts(data: Data) -> dict[str, object]:
    """Names of the classes and labels of the test set, where its classes are uneven."""
    labels = data.test.labels.cpu().numpy()
    if not is_uneven(labels) or len(labels) > MAX_LABELS or data.classes > MAX_CLASSES:
        return {}
    return {"test_labels": pack_labels(labels), "class_names": list(data.class_names)}


def provenance(
    prepared: PreparedStudy, teacher: TrainedTeacher, backend: Backend, command: str
) -> dict[str, str]:
    """The provenance of a study in words, without paths, host names or credentials.

    Args:
        prepared: The study.
        teacher: The study's teacher.
        backend: The backend of its runs.
        command: The command that started the sweep.
    """
    requested = prepared.spec.training.get("precision", Training().precision)
    return {
        "data hash": prepared.data.fingerprint[:16],
        "teacher hash": teacher.key,
        **({"weights": "; ".join(notes)} if (notes := prepared.weights.notes) else {}),
        **({"imported code": code_words(dump(prepared.spec))} if prepared.spec.imported else {}),
        **({REMARKS: "\n".join(prepared.remarks)} if prepared.remarks else {}),
        **({NETWORK_REMARKS: "\n".join(lines)} if (lines := prepared.network_remarks) else {}),
        **({WARM_START: "\n".join(lines)} if (lines := prepared.warm_start_lines) else {}),
        **({SHIFTED: words} if (words := _shift_words(prepared)) else {}),
        TARGETS: bank_words(prepared.plan),
        "views": prepared.plan.view_words.removesuffix(" views"),
        "precision": backend.resolve(Training.model_validate({"precision": requested})).precision,
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "commit": commit(),
        "machine": machine(backend.gpu_name()),
        "command": without_credentials(command),
    }


def _shift_words(prepared: PreparedStudy) -> str:
    """A hash of the images of each corruption, over its severities, and of each data set; or empty."""
    by_corruption: dict[str, list[Split]] = {}
    for name, split in prepared.spec.shift.apply(prepared.data).shifts.items():
        parts = ShiftName.of(name)
        by_corruption.setdefault(name if parts is None else parts.corruption, []).append(split)
    return ", ".join(
        f"{name} {hash_of([one.pixels for one in splits], len(splits[0]))[:16]}"
        for name, splits in by_corruption.items()
    )


EARLIER_TEACHERS = "earlier teachers"
"""The provenance key of teachers that earlier runs of the study have learned from."""


def earlier_teachers(facts: Mapping[str, Any], teacher: TrainedTeacher) -> str:
    """Other teachers that runs of a study have learned from, as its cache was lost; empty without any.

    Args:
        facts: The facts in the study's ledger.
        teacher: The teacher of the runs to come.
    """
    before = facts.get("provenance", {}).get(EARLIER_TEACHERS, "")
    stored = facts.get("teacher")
    if stored is None or stored["sha256"] == teacher.sha256:
        return str(before)
    words = f"weights {stored['sha256'][:16]}, test {stored['test_accuracy']:.2f} %"
    return f"{before}; {words}" if before else words


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # lpstudy itself, in a job that ships its source


def machine(gpu: str) -> str:
    """This machine's system, CPUs and GPUs; `gpu` is the model on which trials run, empty for the CPU."""
    words = f"{platform.system()} {platform.machine()}, {own_cpus()} CPUs"
    count = torch.cuda.device_count()  # which starts no CUDA in this process
    gpus = f"{count} GPU{'s' * (count > 1)}" if count else "no GPU"
    trials = f", trials on {gpu}" if gpu else ""
    return f"{words}, {gpus}{trials}; Python {platform.python_version()}"


def commit() -> str:
    """The commit of lpstudy's checkout, with `+` if it has changes; `unknown` outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return "unknown"
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{head}+" if changed else head


def _git(folder: Path, *words: str) -> str:
    result = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=20
    )
    return result.stdout.strip()
