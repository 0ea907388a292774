"""Hidden arms in MLflow: their runs stay there, and the report reads the others alone."""

from pathlib import Path

from commands import runs
from mlflow.tracking import MlflowClient
from projecting import content, new_ledger, play, project

from lpstudy import tracking
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Ledger
from lpstudy.space import StudySpec

BP, LP = "bp-convnet", "lp-convnet"


def test_the_report_reads_the_shown_arms_alone(
    ledger: Ledger, spec: StudySpec, client: MlflowClient, tmp_path: Path
) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    of_lp = [run for run in runs(client, "held") if run.data.tags.get("lpstudy.arm") == LP]
    assert len(of_lp) == 1 + 3 + 2
    client.update_run(of_lp[0].info.run_id, status="RUNNING")  # as a killed process leaves it
    before = content(client)
    hidden = new_ledger(tmp_path / "held", spec.model_copy(update={"methods": {"bp": spec.methods["bp"]}}))
    project(client, hidden, tmp_path)
    read = tracking.read_study(client, "held").results
    assert [arm.name for arm in read.facts.arms] == [BP]
    assert set(read.runs["arm"]) == set(read.curves["arm"]) == {BP}
    assert read.facts.hidden == "lp on convnet, 5 runs, since it is no longer in the study file"
    (line,) = read.facts.growth
    assert line.endswith("hidden: lp on convnet")
    assert tracking.compare(hidden, client, LocalFolder(tmp_path / "held/runs")) == []
    after = content(client)
    assert client.get_run(of_lp[0].info.run_id).info.status == "KILLED"
    for run in of_lp[1:]:
        assert after[run.info.run_id] == before[run.info.run_id]

    project(client, new_ledger(tmp_path / "held", spec), tmp_path)
    read = tracking.read_study(client, "held").results
    assert set(read.runs["arm"]) == {BP, LP}
    assert read.facts.hidden == ""
    assert len(read.facts.growth) == 2
    assert {run.info.status for run in runs(client, "held")} <= {"FINISHED", "FAILED", "KILLED"}
