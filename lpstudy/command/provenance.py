"""Where a study's numbers come from: versions, commit, machine, command."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from lpstudy.command.phases import bank_words, chance_of
from lpstudy.command.prepare import PreparedStudy
from lpstudy.redaction import without_credentials
from lpstudy.rendering.sections import REMARKS, TARGETS
from lpstudy.space import Training
from lpstudy.study import TrialResources, gpu_name, own_cpus, with_resolved_precision
from lpstudy.teacher import TrainedTeacher

PACKAGES = ("lpstudy", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy")


def data_facts(prepared: PreparedStudy) -> dict[str, object]:
    """What the report says of a study's data."""
    data = prepared.data
    return {
        "name": data.name,
        "classes": data.classes,
        "input_shape": list(data.input_shape),
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "chance": chance_of(data),
    }


def provenance(
    prepared: PreparedStudy, teacher: TrainedTeacher, resources: TrialResources, command: str
) -> dict[str, str]:
    """All of it in words; no path, no host name, no credentials.

    Args:
        prepared: The study.
        teacher: Its teacher.
        resources: What each trial asks for.
        command: That started it.
    """
    asked = prepared.spec.training.get("precision", Training().precision)
    return {
        "data hash": prepared.data.fingerprint[:16],
        "teacher hash": teacher.key,
        **({"weights": "; ".join(notes)} if (notes := prepared.weights.notes) else {}),
        **({REMARKS: "\n".join(prepared.remarks)} if prepared.remarks else {}),
        TARGETS: bank_words(prepared.plan),
        "views": f"{prepared.plan.views} of {prepared.plan.augmentations}",
        "precision": with_resolved_precision(
            Training.model_validate({"precision": asked}), resources
        ).precision,
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "commit": commit(),
        "machine": machine(gpu_name(resources)),
        "command": without_credentials(command),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # lpstudy itself, where a job brings its source along


def machine(gpu: str) -> str:
    """System, CPUs and GPUs of this machine; `gpu` is the model that trials run on, empty for the CPU."""
    words = f"{platform.system()} {platform.machine()}, {own_cpus()} CPUs"
    count = torch.cuda.device_count()  # which starts no CUDA in this process
    own = f"{count} GPU{'s' * (count > 1)}" if count else "no GPU"
    trials = f", trials on {gpu}" if gpu else ""
    return f"{words}, {own}{trials}; Python {platform.python_version()}"


def commit() -> str:
    """The commit of lpstudy's own checkout, `+` where it was changed; unknown outside of one."""
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
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
