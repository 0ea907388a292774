"""Nodes that leave and join a cluster of real raylets while a study runs."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from commands import CommandResult, call, wait_for, wait_for_exit, write_study
from ray.cluster_utils import Cluster
from raylets import MEMORY, raylets
from staging import FIXED, by_key, check_study, running_sweep

from lpstudy import status
from lpstudy.ray_cluster.cluster import SHORTAGE_SECONDS

pytestmark = pytest.mark.soak
LONG = ("epochs = 2\n", "epochs = 1500\n")
"""A number of epochs that lasts for the whole scenario."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs, and two nodes with one each."""
    with raylets(num_cpus=0) as cluster:
        yield cluster


class Stage:
    """Both nodes leave, one joins, and the study finishes."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        first, second = (self.node(cluster) for _ in range(2))
        cluster.wait_for_nodes()
        write_study(
            folder,
            LONG,
            FIXED,
            ("trials = 1", "trials = 3"),
            ("[methods.bp]", "[methods.lp]\nn_neighbors = 3"),  # whose bank both nodes fill
            ("checkpoint_seconds = 0.0", "checkpoint_seconds = 0.5"),
        )
        self.folder = folder
        with running_sweep(folder, RAY_ADDRESS=cluster.address) as process:
            wait_for(lambda: self.running() == 2)
            self.two = self.status()
            cluster.remove_node(first, allow_graceful=False)
            wait_for(lambda: self.status()["nodes"] == 2)
            before = self.epochs()
            wait_for(lambda: self.epochs() > before)
            self.one = self.status()
            cluster.remove_node(second, allow_graceful=False)
            self.none = wait_for(lambda: self.waiting(), seconds=60)
            time.sleep(SHORTAGE_SECONDS + 5)  # until the shortage is reported
            for _ in range(2):
                self.node(cluster)
            wait_for(lambda: not self.waiting())
            wait_for(lambda: self.running() == 2)
            self.result: CommandResult = wait_for_exit(process)

    @staticmethod
    def node(cluster: Cluster) -> Any:
        return cluster.add_node(wait=False, num_cpus=1, object_store_memory=MEMORY)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(call(status.main, self.folder, "tiny", "--json").out)
        return answer

    def waiting(self) -> str:
        return str(self.status()["waiting"])

    def running(self) -> int:
        return sum(line["running"] for line in self.status()["arms"])

    def epochs(self) -> int:
        return sum(len(record.epochs) for record in by_key(self.folder).values())


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(cluster, tmp_path_factory.mktemp("nodes"))


def test_what_is_there_is_used(stage: Stage) -> None:
    assert stage.two["nodes"] == 3
    assert stage.one["nodes"] == 2


def test_a_cluster_that_is_too_small_is_reported_with_needed_and_available(stage: Stage) -> None:
    assert stage.none == "a trial needs 1 CPU but there are 0 CPUs and 0 GPUs"
    assert f"waiting for the cluster: {stage.none}" in stage.result.err


def test_trials_move_and_the_study_ends_whole(stage: Stage) -> None:
    assert stage.result.code == 0, stage.result.err
    check_study(stage.folder, 4)
    assert max(record.assignment.attempt for record in by_key(stage.folder).values()) > 1
    assert not ray.is_initialized()
