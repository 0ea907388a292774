"""The health of the neighbourhood graph in the runs that the comparison rests on."""

import pandas as pd

from lpstudy.tables.arms import ArmResult

DIAGNOSTICS = (
    "lp_ce_gradient_ratio",
    "mean_affinity",
    "locality",
    "feature_rms",
    "effective_rank",
    "dead_units",
    "knn_purity",
    "knn_overlap",
)


def diagnostics(results: list[ArmResult], curves: pd.DataFrame) -> pd.DataFrame:
    """Each arm's diagnostics as last logged, mean over the winner's finals; arms without any are left out.

    Returns:
        Columns "arm" and those of `DIAGNOSTICS` that were logged, in their order.
    """
    known = curves[curves["metric"].isin(DIAGNOSTICS)].dropna(subset=["value"])
    rows = []
    for result in results:
        own = known[known["run_id"].isin(set(result.finals["run_id"]))]
        if own.empty:
            continue
        last = own.sort_values("epoch", kind="stable").groupby(["run_id", "metric"])["value"].last()
        rows.append({"arm": result.arm.name} | last.groupby("metric").mean().to_dict())
    frame = pd.DataFrame(rows, columns=["arm", *DIAGNOSTICS])
    return frame.dropna(axis="columns", how="all") if len(frame) else frame
