"""`ray job submit` to a real head with a token: a study is started, stopped and submitted again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from commands import ROOT, environment, free_port, run, start, stop_group, wait_for, write_study
from staging import FIXED, LONG, OFTEN, check_study, checkpoints

from lpstudy.ray_cluster.ray_patches import LOOPBACK_VARIABLE

pytestmark = pytest.mark.soak
RAY = str(Path(sys.executable).with_name("ray"))
TOKEN = "f" * 64


class Head:
    """The head of a cluster of one node with two CPUs."""

    def __init__(self, home: Path) -> None:
        self.gcs, self.dashboard, agent, client = (free_port() for _ in range(4))
        (home / ".ray").mkdir()
        token = home / ".ray/auth_token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.variables = {"HOME": str(home), "RAY_AUTH_MODE": "token", LOOPBACK_VARIABLE: "0"}
        words = [RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={self.gcs}"]
        words += [f"--dashboard-port={self.dashboard}", f"--dashboard-agent-listen-port={agent}"]
        words += [f"--ray-client-server-port={client}", "--node-ip-address=127.0.0.1"]
        words += ["--dashboard-host=127.0.0.1", "--disable-usage-stats"]
        self.process = subprocess.Popen(
            words,
            env=environment(**self.variables, RAY_JOB_STOP_WAIT_TIME_S="60"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def job(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `ray job ...` as a client."""
        address = f"http://127.0.0.1:{self.dashboard}"
        job_variables = environment(**self.variables) | {"RAY_ADDRESS": address} | variables
        return subprocess.run(
            [RAY, "job", *words], env=job_variables, capture_output=True, text=True, timeout=400
        )


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    made = Head(tmp_path_factory.mktemp("home"))
    try:
        wait_for(lambda: made.job("list").returncode == 0)
        yield made
    finally:
        stop_group(made.process)


def submission(folder: Path, name: str, *words: str) -> Sequence[str]:
    """The submission of the tiny study, with absolute paths."""
    variables = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "LPSTUDY_CACHE": os.environ["LPSTUDY_CACHE"],
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        LOOPBACK_VARIABLE: "0",
    }
    args = ["submit", *words, "--submission-id", name, "--working-dir", str(folder / "work")]
    args += ["--runtime-env-json", json.dumps({"env_vars": variables}), "--", sys.executable]
    args += ["-m", "lpstudy.sweep", "tiny.toml", "--storage", str(folder / "studies")]
    return [*args, "--reports", str(folder / "reports")]


def test_a_job_is_stopped_and_continues_when_it_is_submitted_again(head: Head, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    write_study(tmp_path / "work", LONG, FIXED, OFTEN, ("trials = 1", "trials = 2"))
    first_job = head.job(*submission(tmp_path, "first", "--no-wait"))
    assert first_job.returncode == 0, first_job
    wait_for(lambda: checkpoints(tmp_path))
    assert head.job("stop", "first").returncode == 0
    assert "Job 'first' was stopped" in head.job("status", "first").stdout
    status = json.loads(run(tmp_path, "__main__", "status", "tiny", "--json").out)
    assert (status["state"], status["alive"]) == ("paused", False)
    again = head.job(*submission(tmp_path, "second"))
    assert again.returncode == 0, again
    assert f"report  {tmp_path}/reports/tiny/report.md" in head.job("logs", "second").stdout
    check_study(tmp_path, 3)


def test_bad_input_makes_the_job_fail(head: Head, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    write_study(tmp_path / "work", ("trials = 1", "trials = 0"))
    result = head.job(*submission(tmp_path, "third"))
    assert result.returncode == 1, result
    assert "budget.trials" in result.stdout + result.stderr


def test_without_the_token_a_job_and_a_sweep_are_refused(head: Head, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    write_study(tmp_path / "work")
    wrong = {"RAY_AUTH_TOKEN": "0" * 64}
    assert head.job(*submission(tmp_path, "fourth"), **wrong).returncode != 0
    without = head.job(*submission(tmp_path, "fifth"), HOME=str(tmp_path), RAY_AUTH_MODE="disabled")
    assert without.returncode != 0
    assert "ray get-auth-token" in without.stdout + without.stderr, without
    address = f"127.0.0.1:{head.gcs}"
    process = start(tmp_path / "work", "sweep", "tiny.toml", RAY_ADDRESS=address, **head.variables, **wrong)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 2, err
    assert "`ray get-auth-token` prints it there" in err
    assert "0" * 64 not in err
