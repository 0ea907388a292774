"""A bank filled by two nodes: real raylets on this machine."""

import os
from pathlib import Path

import pytest
from commands import descendants
from raylets import raylets
from test_bank_tasks import VIEWS, study_of

from lpstudy.ray_cluster.session import ray_session

pytestmark = pytest.mark.soak


def raylet_of(pid: int) -> int:
    """The raylet that has started a worker."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_each_node_fills_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    node = {"num_cpus": 1}
    with raylets(node, node, num_cpus=0) as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        with ray_session():
            study = study_of(tmp_path, "fp16")
            filled_by: dict[int, int] = {}
            progress = []
            for one in study.filling():
                progress.append(one)
                if len(filled_by) < 2:
                    pids = [pid for pid, line in descendants(os.getpid()).items() if "ray::_fill" in line]
                    filled_by |= {pid: raylet_of(pid) for pid in pids}
    assert progress == [(done, "") for done in range(1, VIEWS + 1)]
    assert len(filled_by) == len(set(filled_by.values())) == 2
    assert study.store.missing() == ([], [])
