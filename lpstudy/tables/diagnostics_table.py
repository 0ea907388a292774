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


def diagnostics_table(results: list[ArmResult], curves: pd.DataFrame) -> pd.DataFrame:
    """The last logged diagnostics of each arm that has any, averaged over the winner's finals.

    Returns:
        Columns "arm" and those of `DIAGNOSTICS` that were logged, in their order.
    """
    points = curves[curves["metric"].isin(DIAGNOSTICS)].dropna(subset=["value"])
    rows = []
    for result in results:
        arm_points = points[points["run_id"].isin(set(result.finals["run_id"]))]
        if arm_points.empty:
            continue
        last = arm_points.sort_values("epoch", kind="stable").groupby(["run_id", "metric"])["value"].last()
        rows.append({"arm": result.arm.name} | last.groupby("metric").mean().to_dict())
    frame = pd.DataFrame(rows, columns=["arm", *DIAGNOSTICS])
    return frame.dropna(axis="columns", how="all") if len(frame) else frame
