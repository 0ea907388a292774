"""The Slurm script with stand-ins for Slurm, Ray and the sweep, which record their calls."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_files import RAY, text
from commands import wait_for
from slurm_job import SCRIPT, Job

from lpstudy.command import exits
from lpstudy.sweep import parser

DIRECTIVES = dict(
    re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text("slurm.sh"), re.MULTILINE)
)  # option: value, empty where it takes none


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job_files = Job(tmp_path)
    yield job_files
    if hasattr(job_files, "process"):
        try:
            os.killpg(job_files.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            job_files.process.wait()


def test_bash_can_read_it() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_slurm_tells_the_script_alone_two_minutes_before_the_end_and_may_queue_it_again() -> None:
    assert DIRECTIVES["signal"] == "B:TERM@120"
    assert {"requeue", "nodes", "cpus-per-task", "gpus-per-node", "time"} <= set(DIRECTIVES)
    assert DIRECTIVES["ntasks-per-node"] == "1"
    assert DIRECTIVES["open-mode"] == "append"  # or the log of before is lost


def test_no_directive_comes_after_a_command_where_slurm_would_pass_over_it() -> None:
    lines = text("slurm.sh").splitlines()
    first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])


@pytest.mark.parametrize("code", [0, 1, 2, 74, 130])
def test_the_sweeps_exit_code_is_passed_on_and_the_job_is_not_queued_again(job: Job, code: int) -> None:
    job.begin("cifar10", "--gpus-per-trial", "0.25", ENDS=str(code))
    assert job.end()[0] == code
    assert not job.called("scontrol")


def test_signalled_to_end_it_tells_the_sweep_waits_for_it_and_queues_itself_again(job: Job) -> None:
    job.begin("cifar10")
    wait_for(lambda: job.called("waiting"), seconds=30)
    job.process.send_signal(signal.SIGTERM)
    assert job.end()[0] == 75
    assert job.called("sweep heard") == ["sweep heard TERM"]
    assert job.called("scontrol") == ["scontrol requeue 4321"]
    assert job.seen.index("sweep heard TERM") < job.seen.index("ended on n1")


def test_signalled_to_end_by_a_study_that_then_finishes_it_is_not_queued_again(job: Job) -> None:
    job.begin("cifar10", AFTER_TERM="0")
    wait_for(lambda: job.called("waiting"), seconds=30)
    job.process.send_signal(signal.SIGTERM)
    assert job.end()[0] == 0
    assert not job.called("scontrol")


@pytest.mark.parametrize("code", ["143", "15"])
def test_signalled_to_end_before_the_sweep_could_answer_it_is_queued_again(job: Job, code: str) -> None:
    job.begin("cifar10", AFTER_TERM=code)
    wait_for(lambda: job.called("waiting"), seconds=30)
    job.process.send_signal(signal.SIGTERM)
    assert job.end()[0] == 75
    assert job.called("scontrol") == ["scontrol requeue 4321"]


def test_signalled_to_end_while_ray_starts_it_is_queued_again_without_a_sweep(job: Job) -> None:
    (job.folder / "broken").touch()
    job.begin("cifar10")
    wait_for(lambda: job.called("ray health-check"), seconds=30)
    job.process.send_signal(signal.SIGTERM)
    assert job.end()[0] == 75
    assert job.called("scontrol") == ["scontrol requeue 4321"]
    assert not job.called("sweep")


def test_signalled_to_end_while_nodes_join_it_is_queued_again_without_a_sweep(job: Job) -> None:
    (job.folder / "missing").touch()
    job.begin("cifar10")
    wait_for(lambda: job.called("up on n2"), seconds=30)
    job.process.send_signal(signal.SIGTERM)
    assert job.end()[0] == 75
    assert job.called("scontrol") == ["scontrol requeue 4321"]
    assert not job.called("sweep")


def test_what_slurm_does_not_queue_again_is_said(job: Job) -> None:
    (job.folder / "broken").touch()
    job.begin("cifar10")
    wait_for(lambda: job.called("ray health-check"), seconds=30)
    job.process.send_signal(signal.SIGTERM)
    code, err = job.end()
    assert code == 75
    assert "submit it once more" in err


def test_a_head_that_nobody_can_find_ends_the_job(job: Job) -> None:
    job.begin("cifar10", LOOKUP="nowhere")
    code, err = job.end()
    assert code == 1
    assert "n2 does not know the address of n1" in err


def test_signalled_to_end_before_anything_runs_it_is_queued_again_without_a_sweep(job: Job) -> None:
    job.begin("cifar10", LOOKUP="1")
    wait_for(lambda: job.called("on n2: getent"), seconds=30)
    job.process.send_signal(signal.SIGTERM)
    assert job.end()[0] == 75
    assert job.called("scontrol") == ["scontrol requeue 4321"]
    assert not job.called("sweep")


def test_a_study_that_pauses_by_itself_waits_in_the_queue_until_it_is_released(job: Job) -> None:
    """After a full disk or `lpstudy pause`, a job that is queued at once would pause again, for ever."""
    job.begin("cifar10", ENDS="75")
    assert job.end()[0] == 75
    assert job.called("scontrol") == ["scontrol requeuehold 4321"]


def test_ray_runs_on_every_node_with_a_token_and_is_ended(job: Job) -> None:
    job.begin("cifar10", ENDS="0")
    assert job.end()[0] == 0
    head, worker = job.called("on n1: ray start --head")[0], job.called("on n2: ray start")[0]
    assert "--node-ip-address=10.0.0.7 --port=" in head  # as n2 sees it
    assert "--dashboard-host=127.0.0.1" in head
    port = re.search(r"--port=(\d+)", head)
    assert port
    assert 20000 <= int(port[1]) < 32000  # between Ray's workers and the ports that Linux hands out
    assert f"--address=10.0.0.7:{port[1]} " in worker
    assert job.called("joined at") == [f"joined at 10.0.0.7:{port[1]}: 2 300"]
    assert job.called("token") == ["token 600"]
    assert "0123abcd token" in job.seen
    assert sorted(job.called("ended")) == ["ended on n1", "ended on n2"]
    assert not list((job.folder / "shared" / "tokens").iterdir())


def test_on_one_node_ray_stays_on_loopback(job: Job) -> None:
    job.begin("cifar10", nodes="n1", ENDS="0")
    assert job.end()[0] == 0
    (head,) = job.called("on ")  # one step
    assert "--node-ip-address=127.0.0.1 " in head
    assert job.called("sweep at 127.0.0.1:")


def test_ray_start_knows_its_options(job: Job) -> None:
    job.begin("cifar10", ENDS="0")
    job.end()
    options = {option for parameter in RAY["start"].params for option in parameter.opts}
    for line in job.called("on n"):
        words = line.partition("ray start ")[2].split()
        assert {word.partition("=")[0] for word in words} <= options
    assert "health-check" in RAY


def test_its_sweep_is_one_that_the_sweep_takes_and_keeps_in_the_shared_folder(job: Job) -> None:
    job.begin("cifar10", "--gpus-per-trial", "0.25", ENDS="0")
    job.end()
    (line,) = job.called("sweep at")
    args = parser().parse_args(line.partition("-m lpstudy.sweep ")[2].split())
    shared = job.folder / "shared"
    assert (args.study, args.gpus_per_trial) == ("cifar10", 0.25)
    assert (Path(args.storage.url), Path(args.reports)) == (shared / "studies", shared / "reports")
    assert job.called("cache") == [f"cache {shared}/cache sqlite:///{shared}/mlflow.db"]


def test_a_node_that_does_not_join_ends_the_job_without_a_sweep(job: Job) -> None:
    job.begin("cifar10", JOINED="1")
    assert job.end()[0] == 1
    assert not job.called("sweep")
    assert sorted(job.called("ended")) == ["ended on n1", "ended on n2"]


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        ([], {}, "usage: sbatch"),
        (["cifar10"], {"LPSTUDY_STORAGE": ""}, "LPSTUDY_STORAGE"),
        (["cifar10"], {"LPSTUDY_STORAGE": "here"}, "absolute"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    job: Job, words: list[str], variables: dict[str, str], message: str
) -> None:
    job.begin(*words, **variables)
    code, err = job.end()
    assert code == exits.BAD_INPUT
    assert message in err
    assert err.count("\n") == 1
    assert not job.seen
