"""The resources of a trial on a cluster of two nodes: workers on both, and shares of simulated GPUs."""

import json
import os
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import ray
from commands import error_line, run, wait_for_exit, write_study
from ray import tune
from ray.cluster_utils import Cluster
from raylets import raylets
from staging import FIXED, LONG, OFTEN, check_study, running_sweep
from tune_driver import DONE, run_in_tune

from lpstudy.ray_cluster.cluster import Capacity, machines
from lpstudy.ray_cluster.session import ray_session
from lpstudy.study import TrialResources
from lpstudy.study.resources import cpus_per_gpu_share

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs, and two nodes with two cores and a simulated GPU each."""
    node = {"num_cpus": 2, "num_gpus": 1}
    with raylets(
        node, node, num_cpus=0, include_dashboard=True
    ) as cluster:  # Train asks it for placement groups
        yield cluster


def drive_six(address: str, folder: Path) -> None:
    """Run trials that end as soon as four run at the same time."""
    os.environ["RAY_ADDRESS"] = address
    gpu_folder = folder / "seen"
    gpu_folder.mkdir()

    def wait_for_three_others(config: dict[str, Any]) -> None:
        """Defined here, so that Ray pickles it by value."""
        context = ray.get_runtime_context()
        placement = {"node": context.get_node_id(), "gpus": context.get_accelerator_ids()["GPU"]}
        (gpu_folder / f"trial-{config['number']}").write_text(json.dumps(placement))
        deadline = time.monotonic() + 100
        while len(list(gpu_folder.iterdir())) < 4:
            assert time.monotonic() < deadline, "fewer than four at once"
            time.sleep(0.1)
        tune.report(DONE)

    resources = TrialResources(gpus_per_trial=0.5)
    with ray_session():
        assert Capacity(resources)() == 4
        assert [cpus_per_gpu_share(share, machines()) for share in (0.0, 0.5, 1.0)] == [1, 1, 2]
        ledger = run_in_tune(folder, wait_for_three_others, resources, FIXED, ("trials = 1", "trials = 6"))
    ends = [(r.state, r.assignment.attempt, r.cause) for r in ledger.records()]
    assert set(ends) == {("finished", 1, None)}, ends


def test_half_a_gpu_each_makes_four_trials_at_once_on_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    # A process that has once had a Ray of its own listens on loopback ever after, where no node finds it.
    process = get_context("spawn").Process(target=drive_six, args=(cluster.address, tmp_path))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == 0
    placements = [json.loads(path.read_bytes()) for path in (tmp_path / "seen").iterdir()]
    assert len({one["node"] for one in placements}) == 2
    assert all(len(one["gpus"]) == 1 for one in placements)


def test_four_workers_of_a_trial_are_on_both_nodes(cluster: Cluster, tmp_path: Path) -> None:
    write_study(tmp_path, LONG, ("batch_size = 50\nlearning", "batch_size = 40\nlearning"), FIXED, OFTEN)
    words = ["--workers-per-trial", "4"]  # of two cores each node has
    with running_sweep(tmp_path, *words, RAY_ADDRESS=cluster.address) as process:
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            groups = ray.util.placement_group_table()
        finally:
            ray.shutdown()
        result = wait_for_exit(process)
    assert result.code == 0, result.err
    check_study(tmp_path, 2)
    workers = [
        group for group in groups.values() if len(group["bundles"]) == 4 and group["state"] == "CREATED"
    ]
    (group,) = workers
    assert len(set(group["bundles_to_node_id"].values())) == 2


def test_gpus_that_no_single_node_has_are_refused_at_the_start(cluster: Cluster, tmp_path: Path) -> None:
    write_study(tmp_path)
    result = run(tmp_path, "sweep", "tiny.toml", "--gpus-per-trial", "2", RAY_ADDRESS=cluster.address)
    assert result.code == 2
    there = "there are 4 CPUs and 2 GPUs on 3 nodes (at most 2 and 1 on one)"
    assert f"a trial needs 1 CPU and 2 GPUs but {there}" in error_line(result)
