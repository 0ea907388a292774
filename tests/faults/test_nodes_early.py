"""The only node for trials leaves during the teacher's training, and another one joins."""

import json
import time
from pathlib import Path

import pytest
from commands import call, start, wait_for, wait_for_exit, write_study
from raylets import MEMORY, raylets
from staging import check_study

from lpstudy import status
from lpstudy.ray_cluster.cluster import SHORTAGE_SECONDS

pytestmark = pytest.mark.soak


def test_what_is_waited_for_is_reported_and_the_teacher_continues(tmp_path: Path) -> None:
    write_study(tmp_path, ("epochs = 1\n", "epochs = 4000\ncheckpoint_seconds = 0.5\n"))
    cache = tmp_path / "cache"

    def waiting() -> str:
        answer = json.loads(call(status.main, tmp_path, "tiny", "--json").out)
        return str(answer["waiting"])

    with raylets(num_cpus=0) as cluster:
        node = cluster.add_node(wait=True, num_cpus=1, object_store_memory=MEMORY)
        cluster.wait_for_nodes()
        process = start(tmp_path, "sweep", "tiny.toml", RAY_ADDRESS=cluster.address, LPSTUDY_CACHE=str(cache))
        try:
            wait_for(lambda: len(list(cache.glob("teachers/*/**/checkpoint-*.json"))) > 1, seconds=280)
            cluster.remove_node(node, allow_graceful=False)
            waiting_text = wait_for(waiting, seconds=60)
            time.sleep(SHORTAGE_SECONDS + 5)  # until the shortage is reported
            cluster.add_node(wait=False, num_cpus=1, object_store_memory=MEMORY)
            result = wait_for_exit(process)
        finally:
            process.kill()
    assert waiting_text == "a trial needs 1 CPU but there are 0 CPUs and 0 GPUs"
    assert result.err.count(f"waiting for the cluster: {waiting_text}") == 1, result.err
    assert result.code == 0, result.err
    check_study(tmp_path, 2)
