"""A Ray cluster of real raylets on this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from commands import free_port
from ray.cluster_utils import Cluster

from lpstudy.ray_cluster.session import prepare_environment

MEMORY = 80 * 1024**2
"""Bytes of a node's object store."""


@contextmanager
def raylets(*nodes: Mapping[str, Any], **head: Any) -> Iterator[Cluster]:
    """Run a cluster whose head and nodes have these resources, such as `num_cpus`."""
    prepare_environment()
    head_args = {
        "include_dashboard": False,
        "dashboard_port": free_port(),
        "object_store_memory": MEMORY,
    } | head
    cluster = Cluster(initialize_head=True, head_node_args=head_args)
    try:
        for node in nodes:
            cluster.add_node(wait=False, object_store_memory=MEMORY, **node)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()
