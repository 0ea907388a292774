"""The cost of a study's service, and its largest scale.

    python benchmarks/scale.py [--json FILE]      (about 2 minutes on 2 free cores)

1. Trials per minute on 1 and 2 workers, beside bare loops in as many processes; what a trial takes beyond
   its bare loop.
2. CPU of the study's own process a run on a simulated cluster with more CPUs than the machine has, where
   trials sleep for as long as they would train.
3. Ledger with scheduler, and projection into MLflow, alone, with trials that are events in virtual time.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from driven import Bench, cluster, on_cluster
from measuring import one_thread, show, write
from virtual import ledger_and_driver, projection, side_by_side, warm_up

from lpstudy.ray_cluster.session import ray_session
from lpstudy.study.run_epochs import REPORT_SECONDS
from lpstudy.tracking.projection import BATCH_SECONDS as WRITTEN_EVERY

BARE_RUNS = 3
EPOCHS = 30
"""Epochs of a trial, as in the digits study."""
TRIALS = {1: 5, 2: 10}
"""Trials by the number of workers: four for each, and one for each to warm up."""
PER_NODE = 2
"""Trials of the simulated cluster."""
SHARES = (16, 4, 1)
"""Divisors of the largest number of trials at once: a linear cost is the same for all of them."""
GOAL_SECONDS = 0.3
"""CPU of the service a run, beyond the bare loop."""
GOAL_THROUGHPUT = 0.9
"""Times the number of workers."""


def main() -> None:
    """Measure, print tables, write JSON with `--json`."""
    parser = argparse.ArgumentParser(description="The cost of a study's service, and its largest scale.")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of a trial (default: 30)")
    parser.add_argument("--nodes", type=int, default=16, help="of the simulated cluster (default: 16)")
    parser.add_argument("--at-once", type=int, default=1000, help="trials in virtual time (default: 1000)")
    options = parser.parse_args()
    one_thread()
    os.environ["OMP_NUM_THREADS"] = "1"
    results: dict[str, object] = {"virtual": _virtual(options.at_once)}
    with TemporaryDirectory() as name:
        os.environ["LPSTUDY_CACHE"] = str(Path(name) / "cache")
        bench = Bench(Path(name), options.epochs)
        bare = {workers: bench.bare(workers, BARE_RUNS) for workers in TRIALS}
        seconds, wall = bare[1]
        free = {workers: workers * wall / took for workers, (_, took) in bare.items()}
        results["workers"] = _workers(bench, seconds, free)
    results["cluster"] = _cluster(options.nodes, options.epochs, wall)
    if options.json is not None:
        write(options.json, results)


def _workers(bench: Bench, bare: float, free: Mapping[int, float]) -> list[dict[str, object]]:
    with ray_session():
        worked = [bench.on_workers(workers, trials) for workers, trials in TRIALS.items()]
    rows: list[dict[str, object]] = []
    for one in worked:
        took, actor = one.service, one.service.actor - 1e3 * bare
        rows.append(
            {
                "workers": one.workers,
                "trials": one.trials,
                "trials a minute": one.per_minute,
                "x 1 worker": one.per_minute / worked[0].per_minute,
                "bare loops x 1": free[one.workers],
                "Tune ms": took.tune,
                "ledger ms": took.ledger,
                "MLflow ms": took.mlflow,
                "actor - bare ms": actor,
                "beyond the loop s": (took.tune + took.ledger + took.mlflow + actor) / 1e3,
            }
        )
    show(f"Digits trials on workers of this machine; the bare loop takes {bare:.2f} s of CPU", rows)
    print(f"goals: {GOAL_THROUGHPUT} x the workers; {GOAL_SECONDS} s of CPU a run beyond the bare loop")
    return rows


def _cluster(nodes: int, epochs: int, seconds: float) -> dict[str, object]:
    with cluster(nodes) as start:
        service, per_minute = on_cluster(nodes, PER_NODE * nodes, epochs, seconds)
    row: dict[str, object] = {
        "nodes": nodes,
        "runs": PER_NODE * nodes + 1,
        "trial s": seconds,
        "trials a minute": per_minute,
        "if free": 60 * nodes / seconds,
        "Tune ms": service.tune,
        "ledger ms": service.ledger,
        "MLflow ms": service.mlflow,
        "total ms": service.tune + service.ledger + service.mlflow,
    }
    show(f"Sleeping trials on {nodes} simulated nodes, which took {start:.0f} s to start", [row])
    return row


def _virtual(most: int) -> dict[str, object]:
    sizes = [max(8, most // share) for share in SHARES]
    warm_up()
    calls = [(ledger_and_driver, size) for size in reversed(sizes)]
    calls = [(projection, sizes[-1]), *calls, (projection, sizes[0])]  # the longest begins
    answers = list(side_by_side(calls))
    ledger, written = answers[1:-1][::-1], [answers[-1], answers[0]]
    show("Ledger and scheduler in virtual time, CPU ms of an event", ledger)
    show("Projection in virtual time, CPU ms to write a trial", written)
    carried = 1e3 * REPORT_SECONDS / ledger[-1]["report"]
    with_progress = 1e3 * WRITTEN_EVERY / written[-1]["write"]
    print(f"one core keeps up with {carried:.0f} trials that each report every {REPORT_SECONDS:g} s,")
    print(f"and writes {with_progress:.0f} to MLflow every {WRITTEN_EVERY:g} s; beyond that it lags behind")
    return {"ledger": ledger, "projection": written, "reporting": carried, "written": with_progress}


if __name__ == "__main__":
    main()
