"""A Ray cluster of real raylets on this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray.cluster_utils import Cluster
from running import free_port

from lpstudy.study.session import prepare_environment

MEMORY = 80 * 1024**2
"""Bytes of a node's object store."""


@contextmanager
def raylets(*nodes: Mapping[str, Any], **head: Any) -> Iterator[Cluster]:
    """A head and nodes with these resources, `num_cpus` and the like, until the context is left."""
    prepare_environment()
    given = {"include_dashboard": False, "dashboard_port": free_port(), "object_store_memory": MEMORY} | head
    made = Cluster(initialize_head=True, head_node_args=given)
    try:
        for node in nodes:
            made.add_node(wait=False, object_store_memory=MEMORY, **node)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()
