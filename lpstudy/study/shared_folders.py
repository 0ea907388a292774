"""Whether all nodes of a cluster see the same folders: asked of each node before anything is trained."""

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

ANSWER_SECONDS = 60.0
"""In which every node must have answered; it starts a process for it."""
NAMED = 5
"""Nodes that a refusal names."""


def check_shared(folders: Mapping[str, Folder]) -> None:
    """Refuse folders that not all nodes with CPUs share; returns at once where there is one node and a disk.

    This process writes a random word into each folder; a task pinned to each node must find it there and
    write an answer that this process sees.

    Args:
        folders: Found from everywhere, by what the user sets them with.

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
        for asked in probes:
            probe.ask(asked, word)
        told = _told(list(nodes), probes, word)
        for number, (setting, folder) in enumerate(folders.items()):
            faults = {n: said[number] or probe.heard(probes[number], word, n) for n, said in told.items()}
            faulty = [f"{nodes[node]} {fault}" for node, fault in faults.items() if fault]
            if faulty:
                more = f"; so for {len(faulty) - NAMED} more nodes" if len(faulty) > NAMED else ""
                raise ValueError(
                    f"{setting}: all nodes must share {folder}, but {'; '.join(faulty[:NAMED])}{more}"
                )
    finally:
        for asked in probes:
            with suppress(StorageError):
                asked.clear()


def _nodes() -> dict[str, str]:
    """The nodes on which trials may run: what a user knows them by, by id."""
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    return {
        node["NodeID"]: f"node {node['NodeManagerAddress']} (host {node['NodeManagerHostname']},"
        f" id {node['NodeID'][:8]})"
        for node in known
        if node["Alive"] and node["Resources"].get("CPU", 0)
    }


def _told(nodes: list[str], probes: Sequence[Folder], word: str) -> dict[str, list[str]]:
    """What each node finds wrong with each probe; nodes that have left the cluster are left out."""

    def answer(node: str) -> list[str]:
        """Defined in here it travels whole: a node need not import torch and Tune to answer."""
        from lpstudy.probe import answer

        return [answer(asked, word, node) for asked in probes]

    task: Any = ray.remote(answer)
    asked = {
        node: task.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(node)
        for node in nodes
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_SECONDS)
    told = {}
    for node, said in asked.items():
        try:
            told[node] = ray.get(said, timeout=0)
        except RayTaskError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            told[node] = [f"cannot run lpstudy: {lines[-1].strip()[:200]}"] * len(probes)
        except (RayError, TimeoutError):
            if node in _nodes():
                told[node] = [f"has not answered for {ANSWER_SECONDS:g} s"] * len(probes)
    return told
