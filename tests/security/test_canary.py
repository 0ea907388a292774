"""A study with credentials in its addresses, variables and command writes them nowhere."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import (
    CommandResult,
    call,
    error_line,
    free_port,
    mlflow_server,
    run,
    runs,
    start,
    wait_for_exit,
    write_study,
)
from malice import pickled
from mlflow.tracking import MlflowClient

from lpstudy import sweep
from lpstudy.command.prepare import prepare
from lpstudy.command.provenance import provenance
from lpstudy.study import InProcess, TrialResources
from lpstudy.teacher import TrainedTeacher

CANARY = "kXq7canaryZ3w"
VARIABLES = {
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AWS_SESSION_TOKEN": CANARY,
    "MLFLOW_TRACKING_TOKEN": CANARY,
    "PGPASSWORD": CANARY,
}


@dataclass(frozen=True)
class CanaryStudy:
    """The results of a sweep and of two reports, and the folders that they wrote."""

    result: CommandResult
    report: CommandResult
    again: CommandResult
    folder: Path
    rays: Path
    marker: Path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanaryStudy]:
    folder = tmp_path_factory.mktemp("canary")
    work = folder / "work"
    work.mkdir()
    write_study(work)
    marker = folder / "pwned"
    plant(work, marker)
    port = free_port()
    rays = Path(tempfile.mkdtemp(prefix="lpr", dir="/tmp"))  # a socket's path has 107 characters at most
    folders = {"LPSTUDY_CACHE": str(folder / "cache"), "RAY_TMPDIR": str(rays)}
    variables = VARIABLES | folders | {"MLFLOW_TRACKING_URI": f"http://user:{CANARY}@127.0.0.1:{port}"}
    try:
        with mlflow_server(folder / "server", port):
            result = wait_for_exit(start(work, "sweep", "tiny.toml", **variables))
            for path in (folder / "server").rglob("weights.safetensors"):
                path.write_bytes(pickled(marker))
            report = run(work, "report", "tiny", **variables)
            client = MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
            assert len(runs(client, "tiny")) == 5
        yield CanaryStudy(result, report, run(work, "report", "tiny", **variables), folder, rays, marker)
    finally:
        shutil.rmtree(rays, ignore_errors=True)


def test_the_command_is_recorded_without_credentials(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    variables = sweep.parser().parse_args([str(path)])
    prepared = prepare(variables)
    teacher = TrainedTeacher("", "k", "0", "convnet", 1.0, 1.0, 1, 1, 1.0, 0)
    command = f"python -m lpstudy.sweep tiny --ledger=postgresql://me:{CANARY}@host/db"
    values = provenance(prepared, teacher, InProcess(TrialResources()), command)
    assert values["command"] == "python -m lpstudy.sweep tiny --ledger=postgresql://host/db"
    assert CANARY not in str(values)


def test_a_folder_that_is_an_address_with_a_password_is_refused_without_it(tmp_path: Path) -> None:
    write_study(tmp_path)
    result = call(sweep.main, tmp_path, "tiny.toml", "--data-root", f"http://user:{CANARY}@127.0.0.1/data")
    assert result.code == 2
    assert CANARY not in error_line(result)


@pytest.mark.parametrize("scheme", ["http", "https", "nonsense"])
def test_a_tracking_server_that_does_not_answer_is_named_without_its_password(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "x")  # to be put back as it was
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://user:{CANARY}@127.0.0.1:{free_port()}/db")
    result = call(sweep.main, tmp_path, "tiny.toml")
    assert result.code == 2
    line = error_line(result)
    assert CANARY not in line
    assert f"MLFLOW_TRACKING_URI={scheme}://127.0.0.1:" in line


def plant(work: Path, marker: Path) -> None:
    """Plant pickles in the folder of Ray Tune's pickles."""
    for name in (
        "tuner.pkl",
        "trainable.pkl",
        "searcher-state-1.pkl",
        "experiment_state-2026.json",
        "x/params.pkl",
    ):
        path = work / "studies" / "tiny" / "tune" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickled(marker))


def holding(folder: Path) -> list[str]:
    """The files below a folder whose names or bytes contain the canary."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path) for path in paths if CANARY in str(path) or CANARY.encode() in path.read_bytes()]


def test_the_sweep_and_its_report_succeed(study: CanaryStudy) -> None:
    assert (study.result.code, study.report.code) == (0, 0), study


def test_nothing_that_is_printed_holds_the_canary(study: CanaryStudy) -> None:
    for result in (study.result, study.report, study.again):
        assert CANARY not in result.out + result.err


def test_a_server_that_is_gone_is_named_without_its_password(study: CanaryStudy) -> None:
    assert study.again.code == 2
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:" in study.again.err


def test_ledger_checkpoints_reports_mlflow_and_cache_hold_no_canary(study: CanaryStudy) -> None:
    for name in ("work/studies", "work/reports", "server", "cache"):
        assert any(path.is_file() for path in (study.folder / name).rglob("*")), name
    assert holding(study.folder) == []


def test_rays_logs_hold_no_canary(study: CanaryStudy) -> None:
    assert len([path for path in study.rays.rglob("*.log")]) > 3
    assert holding(study.rays) == []


def test_no_pickle_in_the_studys_folder_or_among_the_artifacts_was_loaded(study: CanaryStudy) -> None:
    assert not study.marker.exists()
