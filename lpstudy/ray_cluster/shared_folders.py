"""A check that all nodes of a cluster share the study's folders, made before anything is trained."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lpstudy import probe
from lpstudy.disk import StorageError
from lpstudy.folder import Folder, LocalFolder
from lpstudy.one_line import last_line

ANSWER_SECONDS = 60.0
"""Time limit for every node's answer; each starts a process for it."""
NAMED = 5
"""Number of nodes that an error message names."""


def check_shared(folders: Mapping[str, Folder]) -> None:
    """Refuse folders that not all nodes with CPUs share; returns at once where there is one node and a disk.

    This process writes a random word into each folder; a task pinned to each node must find it there and
    write an answer that this process sees.

    Args:
        folders: The folders with absolute addresses, by the flag or variable that sets them.

    Raises:
        ValueError: Names the nodes that do not share a folder or have not answered.
        OSError: This process itself cannot write into a folder.
    """
    nodes = _nodes()
    if len(nodes) < 2 and all(isinstance(folder, LocalFolder) for folder in folders.values()):
        return
    word = uuid.uuid4().hex
    probes = [folder / f".shared-{word}" for folder in folders.values()]
    try:
        for one in probes:
            probe.write_question(one, word)
        problems = _ask_nodes(list(nodes), probes, word)
        for number, (setting, folder) in enumerate(folders.items()):
            faults = {
                node: messages[number] or probe.check_answer(probes[number], word, node)
                for node, messages in problems.items()
            }
            faulty = [f"{nodes[node]} {fault}" for node, fault in faults.items() if fault]
            if faulty:
                more = f"; and {len(faulty) - NAMED} more nodes" if len(faulty) > NAMED else ""
                raise ValueError(
                    f"{setting}: all nodes must share {folder}, but {'; '.join(faulty[:NAMED])}{more}"
                )
    finally:
        for one in probes:
            with suppress(StorageError):
                one.clear()


def _nodes() -> dict[str, str]:
    """Descriptions of the nodes on which trials may run, by node id."""
    all_nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    return {
        node["NodeID"]: f"node {node['NodeManagerAddress']} (host {node['NodeManagerHostname']},"
        f" id {node['NodeID'][:8]})"
        for node in all_nodes
        if node["Alive"] and node["Resources"].get("CPU", 0)
    }


def _ask_nodes(nodes: list[str], probes: Sequence[Folder], word: str) -> dict[str, list[str]]:
    """The problem that each node has with each probe folder; nodes that left the cluster are omitted."""

    def answer(node: str) -> list[str]:
        """Nested, so that Ray ships it by value: a node need not import torch and Tune to answer."""
        from lpstudy.probe import write_answer

        return [write_answer(one, word, node) for one in probes]

    task: Any = ray.remote(answer)
    results = {
        node: task.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(node)
        for node in nodes
    }
    ray.wait(list(results.values()), num_returns=len(results), timeout=ANSWER_SECONDS)
    problems = {}
    for node, result in results.items():
        try:
            problems[node] = ray.get(result, timeout=0)
        except RayTaskError as error:
            problems[node] = [f"cannot run lpstudy: {last_line(error, 200)}"] * len(probes)
        except (RayError, TimeoutError):
            if node in _nodes():
                problems[node] = [f"has not answered for {ANSWER_SECONDS:g} s"] * len(probes)
    return problems
