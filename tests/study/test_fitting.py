"""The number of trials that fit on a cluster, with each process on one node."""

import pytest

from lpstudy.study import Node, TrialResources, concurrent_trials

TWO = [Node(4, 1), Node(4, 1)]


@pytest.mark.parametrize(
    ("resources", "have", "fit"),
    [
        (TrialResources(), [Node(4)], 4),
        (TrialResources(), [Node(0), Node(1.5), Node(2.9)], 3),
        (TrialResources(workers_per_trial=2), [Node(1), Node(1), Node(1)], 1),
        (TrialResources(workers_per_trial=2), [Node(3), Node(1)], 2),
        (TrialResources(gpus_per_trial=1), TWO, 2),
        (TrialResources(gpus_per_trial=0.5), TWO, 4),
        (TrialResources(gpus_per_trial=0.6), [Node(8, 2)], 2),  # a share is one of a single GPU
        (TrialResources(gpus_per_trial=1 / 3), [Node(8, 1)], 3),
        (TrialResources(gpus_per_trial=2), [Node(4, 3), Node(4, 2)], 2),
        (TrialResources(gpus_per_trial=1, workers_per_trial=2), TWO, 1),
        (TrialResources(gpus_per_trial=1), [Node(64), Node(2, 4)], 2),  # a trial decodes on a CPU at least
        (TrialResources(concurrent=3), [Node(4)], 3),
    ],
)
def test_as_many_as_the_nodes_take(resources: TrialResources, have: list[Node], fit: int) -> None:
    assert concurrent_trials(resources, have) == fit


@pytest.mark.parametrize(
    ("resources", "have", "message"),
    [
        (TrialResources(), [], "a trial needs 1 CPU but there are 0 CPUs and 0 GPUs"),
        (
            TrialResources(gpus_per_trial=2),
            TWO,
            r"needs 1 CPU and 2 GPUs but there are 8 CPUs and 2 GPUs on 2 nodes \(at most 4 and 1 on one\)",
        ),
        (
            TrialResources(workers_per_trial=4),
            [Node(2), Node(1)],
            r"needs 4 CPUs but there are 3 CPUs and 0 GPUs on 2 nodes \(at most 2 and 0 on one\)",
        ),
        (
            TrialResources(gpus_per_trial=0.6, concurrent=3),
            [Node(8, 2)],
            "--concurrent 3: at most 2 trials of 1 CPU",
        ),
        (TrialResources(gpus_per_trial=1.5), TWO, "must be at most 1 or a whole number but got 1.5"),
        (
            TrialResources(gpus_per_trial=0.5, workers_per_trial=2),
            TWO,
            "two workers of a trial cannot share a GPU",
        ),
    ],
)
def test_what_does_not_fit_is_reported_with_needed_and_available(
    resources: TrialResources, have: list[Node], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        concurrent_trials(resources, have)
