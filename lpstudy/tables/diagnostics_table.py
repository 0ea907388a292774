"""The diagnostics of the methods in the runs that the comparison rests on."""

import pandas as pd

from lpstudy.diagnostic import Diagnostic
from lpstudy.tables.arms import ArmResult


def diagnostics_of(results: list[ArmResult]) -> tuple[Diagnostic, ...]:
    """The diagnostics of all arms' methods, in the arms' order; of two with one name the first."""
    by_name: dict[str, Diagnostic] = {}
    for result in results:
        for one in result.arm.diagnostics:
            by_name.setdefault(one.name, one)
    return tuple(by_name.values())


def diagnostics_table(results: list[ArmResult], curves: pd.DataFrame) -> pd.DataFrame:
    """The last logged diagnostics of each arm that has any, averaged over the winner's finals.

    Returns:
        Columns "arm" and the names of `diagnostics_of` that were logged, in their order.
    """
    names = [one.name for one in diagnostics_of(results)]
    points = curves[curves["metric"].isin(names)].dropna(subset=["value"])
    rows = []
    for result in results:
        arm_points = points[points["run_id"].isin(set(result.finals["run_id"]))]
        if arm_points.empty:
            continue
        last = arm_points.sort_values("epoch", kind="stable").groupby(["run_id", "metric"])["value"].last()
        rows.append({"arm": result.arm.name} | last.groupby("metric").mean().to_dict())
    frame = pd.DataFrame(rows, columns=["arm", *names])
    return frame.dropna(axis="columns", how="all") if len(frame) else frame
