"""Nodes that do not share the folders are refused before training: real nodes with mounts of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from commands import descendants, error_line, run, suspend, wait_for, write_study
from raylets import raylets

from lpstudy.environment import JOB
from lpstudy.folder import LocalFolder
from lpstudy.ray_cluster import shared_folders
from lpstudy.ray_cluster.session import ray_session, variables
from lpstudy.ray_cluster.shared_folders import check_shared

SEPARATE = ("mount -t tmpfs none {0}", "does not see what is written there: No such file or directory")
READ_ONLY = (
    "mount --bind {0} {0} && mount -o remount,ro,bind {0}",
    "cannot write there: Read-only file system",
)
NODE = (
    "-m ray.scripts.scripts start --num-cpus=1 --object-store-memory=100000000 --disable-usage-stats --block"
)
PORTS = "--min-worker-port=0 --max-worker-port=0"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of three nodes on this machine, which this process has joined."""
    one = {"num_cpus": 1}
    with raylets(one, one, **one) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        with ray_session():
            yield cluster.address


class Stranger:
    """A fourth node in a mount namespace of its own."""

    def __init__(self, address: str) -> None:
        ids = _ids()
        self.process = subprocess.Popen(
            ["unshare", "--mount", sys.executable, *NODE.split(), *PORTS.split(), f"--address={address}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.id: str = wait_for(lambda: _ids() - ids).pop()

    @contextlib.contextmanager
    def seeing(self, folder: object, mount: str) -> Iterator[None]:
        """Mount something else on this node alone within the context."""
        self._do(mount.format(folder))
        try:
            yield
        finally:
            self._do(f"umount --lazy {folder}")

    def _do(self, line: str) -> None:
        enter = ["nsenter", f"--target={self.process.pid}", "--mount", "sh", "-c", line]
        subprocess.run(enter, check=True, capture_output=True)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Suspend the node within the context."""
        with suspend(pid for pid, line in descendants(self.process.pid).items() if "raylet/raylet " in line):
            yield

    def end(self) -> None:
        """End the node with all its processes."""
        for process in (*descendants(self.process.pid), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def stranger(address: str) -> Iterator[Stranger]:
    """A fourth node, for the tests that run last."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt && nsenter --version"]
    may = subprocess.run(command, capture_output=True, check=False, text=True)
    if may.returncode:
        pytest.skip(f"no mount namespace of one's own may be made here: {may.stderr.strip()}")
    made = Stranger(address)
    yield made
    made.end()


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, LocalFolder]:
    made = {"--storage": LocalFolder(tmp_path / "studies"), "LPSTUDY_CACHE": LocalFolder(tmp_path / "cache")}
    for folder in made.values():
        folder.path.mkdir()
    return made


def _ids() -> set[str]:
    """The ids of the live nodes."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def test_three_nodes_that_share_their_folders_are_accepted(
    address: str, folders: dict[str, LocalFolder]
) -> None:
    check_shared(folders)
    assert [path for folder in folders.values() for path in folder.path.iterdir()] == []


@pytest.mark.parametrize(("mount", "reason"), [SEPARATE, READ_ONLY])
@pytest.mark.parametrize("setting", ["--storage", "LPSTUDY_CACHE"])
def test_the_node_that_does_not_share_a_folder_is_named_with_it(
    setting: str, mount: str, reason: str, stranger: Stranger, folders: dict[str, LocalFolder]
) -> None:
    errors_as_bad_input = pytest.raises(ValueError, match=r"all nodes must share")
    with stranger.seeing(folders[setting], mount), errors_as_bad_input as refused:
        check_shared(folders)
    message = str(refused.value)
    assert message.startswith(f"{setting}: all nodes must share {folders[setting]}, but node ")
    assert message.endswith(f"id {stranger.id[:8]}) {reason}")
    assert message.count("(host ") == 1
    assert [path for folder in folders.values() for path in folder.path.iterdir()] == []
    check_shared(folders)  # once it is mended


def test_a_sweep_on_such_a_cluster_is_refused_in_one_line_before_its_teacher(
    address: str, stranger: Stranger, tmp_path: Path
) -> None:
    write_study(tmp_path)
    storage = tmp_path / "studies" / "tiny"
    storage.mkdir(parents=True)
    with stranger.seeing(storage, SEPARATE[0]):
        result = run(
            tmp_path, "sweep", "tiny.toml", RAY_ADDRESS=address, LPSTUDY_CACHE=str(tmp_path / "cache")
        )
    assert result.code == 2
    assert error_line(result).startswith(
        f"lpstudy sweep: --storage: all nodes must share {storage}, but node "
    )
    assert stranger.id[:8] in result.err
    assert not (tmp_path / "cache" / "teachers").exists()
    assert not (storage / "runs").exists()


def test_a_variable_that_the_job_has_set_is_not_set_again_and_the_cache_always_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LPSTUDY_CACHE")
    monkeypatch.delenv("LPSTUDY_TEST_DATA", raising=False)
    monkeypatch.setenv("LPSTUDY_DATA", "/data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert variables() == {
        "LPSTUDY_DATA": "/data",
        "LPSTUDY_CACHE": f"{tmp_path}/.cache/lpstudy/cache",
    }
    job = {"runtime_env": {"env_vars": {"LPSTUDY_DATA": "/data"}}, "metadata": {}}
    monkeypatch.setenv(JOB, json.dumps(job))
    assert list(variables()) == ["LPSTUDY_CACHE"]


def test_a_node_that_does_not_answer_is_named(
    stranger: Stranger, folders: dict[str, LocalFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folders, "ANSWER_SECONDS", 2.0)
    with stranger.stopped(), pytest.raises(ValueError, match="has not answered for 2 s") as refused:
        check_shared(folders)
    assert stranger.id[:8] in str(refused.value)
