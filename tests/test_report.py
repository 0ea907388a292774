import csv
import re
from pathlib import Path

from commands import CommandResult, files, records

HEAD = (
    "method,student,family,depth,width,accuracy_mean,accuracy_low,accuracy_high,seeds,delta_bp_mean,delta_bp_low,"
    "delta_bp_high,parameters,compression,macs,flops,speedup,auxiliary_parameters,training_macs,trials_finished,"
    "trials_pruned,trials_failed,best_hyperparameters,mlflow_run_id,delta_bp_p_holm,delta_bp_detectable,"
    "published,published_source,delta_published,auxiliary_bytes,loss_macs,teacher_bytes,"
    "latency_ms,latency_p95_ms,latency_target,"
    "delta_bp_p_t,delta_bp_p_permutation,delta_bp_bca_low,delta_bp_bca_high,delta_bp_outperforms,"
    "delta_bp_outperforms_low,delta_bp_outperforms_high,delta_bp_p_permutation_holm,"
    "delta_bp_to_decide,"
    "ece_mean,ece_low,ece_high,nll_mean,nll_low,nll_high,brier_mean,brier_low,brier_high,"
    "agreement_mean,agreement_low,agreement_high,teacher_kl_mean,teacher_kl_low,teacher_kl_high"
)
Smoke = tuple[Path, CommandResult]


def rows(smoke: Smoke, table: str) -> list[dict[str, str]]:
    with (smoke[0] / "reports/smoke" / table).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_comparison_has_the_columns_of_the_issue(smoke: Smoke) -> None:
    text = (smoke[0] / "reports/smoke/comparison.csv").read_text()
    assert text.splitlines()[0] == HEAD
    table = rows(smoke, "comparison.csv")
    assert [row["method"] for row in table] == ["teacher", "bp", "kd", "fitnet", "lp", "lp_kd"]
    for row in table[1:]:
        assert (row["seeds"], row["trials_finished"], row["trials_failed"]) == ("1", "1", "0")
        assert (row["family"], row["depth"], row["width"]) == ("convnet", "2", "8")
        assert float(row["flops"]) == 2 * float(row["macs"])
        assert re.fullmatch("[0-9a-f]{32}", row["mlflow_run_id"])


def test_trials_csv_has_a_row_for_each_trial_and_final(smoke: Smoke) -> None:
    kinds = [row["kind"] for row in rows(smoke, "trials.csv")]
    assert (kinds.count("trial"), kinds.count("final")) == (5, 5)


def test_each_run_has_the_times_of_the_ledger_to_the_second(smoke: Smoke) -> None:
    of_ledger = {
        (one.assignment.arm, one.assignment.kind, one.assignment.number): (one.started, one.ended)
        for one in records(smoke[0], "smoke")
    }
    table = rows(smoke, "trials.csv")
    assert len(table) == len(of_ledger)
    for row in table:
        started, ended = of_ledger[row["arm"], row["kind"], int(row["trial"])]
        assert started is not None
        assert ended is not None
        assert abs(started - float(row["started"])) < 0.51
        assert abs(ended - float(row["ended"])) < 0.51


def test_the_report_is_whole(smoke: Smoke) -> None:
    names = files(smoke[0] / "reports/smoke")
    assert {"report.md", "comparison.csv", "trials.csv", "figures/accuracy_over_macs.png"} <= set(names)
    text = (smoke[0] / "reports/smoke/report.md").read_text()
    figures = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert figures
    assert set(figures) <= set(names)
    assert "python -m lpstudy.sweep smoke" in text
    assert text.count("`method` lp") == 1  # [methods.lp_kd] is a table of another name


def test_no_file_of_the_report_holds_an_absolute_path(smoke: Smoke) -> None:
    folder = smoke[0]
    for name in files(folder / "reports/smoke"):
        content = (folder / "reports/smoke" / name).read_bytes()
        for path in (str(folder), str(Path.home()), str(Path(__file__).resolve().parents[1])):
            assert path.encode() not in content, name
