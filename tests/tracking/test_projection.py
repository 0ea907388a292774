"""The ledger written to MLflow and read back without Ray, with a database."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from commands import run_keys, runs, wait_for
from mlflow.tracking import MlflowClient
from projecting import (
    EPOCHS,
    PROVENANCE,
    SHAPE,
    SPACE,
    TEACHER,
    content,
    new_ledger,
    play,
    project,
    projection,
    record_of,
)

from lpstudy import tracking
from lpstudy.correctness import pack
from lpstudy.damage import DamagedError
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Ledger, dump
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec, parse
from lpstudy.tracking.study_facts import pruner_words


def test_a_second_projection_changes_nothing(client: MlflowClient, ledger: Ledger, tmp_path: Path) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    before = content(client)
    project(client, ledger, tmp_path)
    assert content(client) == before
    assert len(run_keys(runs(client, "held"))) == 2 + 2 + 2 * (3 + 2)


def shown_points(client: MlflowClient) -> list[str]:
    """The points of each run; of an arm's run the newest values, which were written as its finals ended."""
    return sorted(
        repr(
            {
                name: points[-1][2] if tags["lpstudy.kind"] == "arm" else points
                for name, points in every.items()
            }
        )
        for _, tags, _, every in content(client).values()
    )


def test_following_and_catching_up_give_the_same(
    client: MlflowClient, ledger: Ledger, spec: StudySpec, tmp_path: Path
) -> None:
    following = projection(client, ledger, tmp_path)
    following.start()
    play(ledger, following.note_change)
    following.close(seconds=120)
    with_progress = shown_points(client)
    client.delete_experiment(client.get_experiment_by_name("lpstudy/held").experiment_id)
    project(client, new_ledger(tmp_path / "held", spec), tmp_path)
    assert shown_points(client) == with_progress


def test_each_run_has_its_epochs_and_its_end(client: MlflowClient, ledger: Ledger, tmp_path: Path) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    by_key = {run.data.tags["lpstudy.key"]: run for run in runs(client, "held")}
    states = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
    for record in ledger.records():
        run = by_key[record.assignment.key]
        assert run.info.status == states[record.state]
        assert run.data.tags["lpstudy.state"] == record.state
        history = client.get_metric_history(run.info.run_id, "validation_accuracy")
        assert [(point.step, point.value) for point in history] == [
            (epoch.epoch, epoch.metrics["validation_accuracy"]) for epoch in record.epochs
        ]
    assert by_key["arm/lp-convnet"].data.metrics["trials_failed"] == 1


def test_hyperparameters_come_back_with_their_types(
    client: MlflowClient, ledger: Ledger, tmp_path: Path
) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    stored = tracking.read_study(client, "held")
    assert stored.spec == ledger.spec
    values = {record.assignment.key: record.assignment.values for record in ledger.records()}
    assert len(stored.results.runs) == len(values)
    for row in stored.results.runs.itertuples():
        final = f"-seed-{row.seed}" if row.kind == "final" else ""
        searched = dict(values[f"{row.arm}/{row.kind}-{row.trial}{final}"])
        assert row.searched == searched
        assert {k: type(v) for k, v in row.searched.items()} == {k: type(v) for k, v in searched.items()}
        if row.method == "lp":
            assert row.hyperparameters["ramp"] == 0.5
            assert isinstance(row.hyperparameters["n_neighbors"], int)
        assert row.warnings == ["k is large"]


def test_the_record_of_a_finals_test_images_comes_back_and_is_repaired(
    client: MlflowClient, ledger: Ledger, tmp_path: Path
) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    finals = {r.assignment.key: r for r in ledger.records() if r.assignment.kind == "final"}
    read = tracking.read_study(client, "held").results.runs
    assert len(finals) == 4
    for row in read.itertuples():
        final = finals.get(f"{row.arm}/final-{row.trial}-seed-{row.seed}") if row.kind == "final" else None
        assert row.test_correct == ("" if final is None else record_of(final.assignment))
    spoilt, other, *_ = [r for r in runs(client, "held") if r.data.tags["lpstudy.key"] in finals]
    client.log_text(spoilt.info.run_id, pack(np.arange(5) < 2), "test_correct.txt")
    with pytest.raises(DamagedError, match=r"test_correct\.txt: has another SHA-256: lpstudy reconcile"):
        tracking.read_study(client, "held")
    client.set_tag(other.info.run_id, "lpstudy.test_correct", "0" * 64)
    differ = tracking.compare(ledger, client, LocalFolder(tmp_path / "held/runs"))
    assert {one.key for one in differ} == {run.data.tags["lpstudy.key"] for run in (spoilt, other)}
    data = {"name": "digits", "classes": 10, "input_shape": SHAPE, "train": 9, "validation": 5, "test": 5}
    facts = tracking.StudyMetadata(dump(ledger.spec), data, TEACHER, PROVENANCE)
    assert tracking.repair(ledger, client, facts, LocalFolder(tmp_path / "held/runs"), seconds=120) is None
    order = ["arm", "kind", "trial", "seed"]
    repaired = tracking.read_study(client, "held").results.runs.sort_values(order).reset_index(drop=True)
    assert repaired["test_correct"].tolist() == read.sort_values(order)["test_correct"].tolist()


def test_an_unfinished_run_is_paused_and_continues(
    client: MlflowClient, ledger: Ledger, tmp_path: Path
) -> None:
    assignment = ledger.next()
    assert isinstance(assignment, Assignment)
    ledger.report(assignment, [EpochResult(1, {"validation_accuracy": 50.0})])
    following = projection(client, ledger, tmp_path)
    following.start()
    following.note_change(assignment)
    wait_for(
        lambda: (
            client.get_experiment_by_name("lpstudy/held") and assignment.key in run_keys(runs(client, "held"))
        )
    )
    following.close(seconds=120)
    statuses = {run.data.tags["lpstudy.key"]: run.info.status for run in runs(client, "held")}
    assert "RUNNING" not in statuses.values()
    paused = next(run for run in runs(client, "held") if run.data.tags["lpstudy.key"] == assignment.key)
    assert paused.data.tags["lpstudy.state"] == "paused"
    ledger.report(assignment, [EpochResult(n, {"validation_accuracy": 49.0 + n}) for n in (2, 3)])
    ledger.finish(assignment, "finished")
    project(client, ledger, tmp_path)
    again = client.get_run(paused.info.run_id)
    assert again.info.status == "FINISHED"
    assert len(client.get_metric_history(paused.info.run_id, "validation_accuracy")) == 3


def test_a_run_that_a_kill_left_half_written_is_completed(
    client: MlflowClient, ledger: Ledger, tmp_path: Path
) -> None:
    play(ledger)
    experiment = client.create_experiment("lpstudy/held", tags={"lpstudy.id": ledger.facts["id"]})
    record = ledger.records()[1]
    # What a process leaves that dies between two requests: the run alone, without parameters and metrics.
    tags = {"lpstudy.key": record.assignment.key, "lpstudy.state": "running"}
    tags |= {"lpstudy.kind": "trial", "lpstudy.arm": record.assignment.arm}
    tags |= {"lpstudy.trial": str(record.assignment.number), "lpstudy.seed": "0"}
    half = client.create_run(experiment, tags=tags).info.run_id
    project(client, ledger, tmp_path)
    run = client.get_run(half)
    assert run.info.status == "FINISHED"
    assert run.data.params["depth" if "depth" in run.data.params else "learning_rate"]
    assert run.data.metrics["macs"] > 0
    assert len(tracking.read_study(client, "held").results.runs) == len(ledger.records())


def test_two_studies_of_one_name_share_a_store(client: MlflowClient, spec: StudySpec, tmp_path: Path) -> None:
    ledgers = [new_ledger(tmp_path / name, spec) for name in ("one", "two")]
    for ledger in ledgers:
        play(ledger)
    for ledger in (*ledgers, *ledgers):  # each pushes the other aside, and takes the name again
        project(client, ledger, tmp_path)
    experiments = [e for e in client.search_experiments() if e.name.startswith("lpstudy/")]
    assert sorted(e.tags["lpstudy.id"] for e in experiments) == sorted(one.facts["id"] for one in ledgers)
    for experiment in experiments:
        assert len(client.search_runs([experiment.experiment_id])) == 2 + 2 + 2 * (3 + 2)


def test_a_deleted_experiment_of_the_name_is_no_obstacle(
    client: MlflowClient, ledger: Ledger, tmp_path: Path
) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    client.delete_experiment(client.get_experiment_by_name("lpstudy/held").experiment_id)
    with pytest.raises(ValueError, match="MLflow has no study 'held'"):
        tracking.find_experiment(client, "held")
    project(client, ledger, tmp_path)
    assert len(tracking.read_study(client, "held").results.runs) == len(ledger.records())


def test_an_address_is_shown_without_its_password() -> None:
    assert tracking.display_uri("https://user:p@ss@host:5000/x") == "https://host:5000/x"
    assert tracking.display_uri("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    assert tracking.display_uri("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


def test_facts_are_what_the_report_reads(client: MlflowClient, ledger: Ledger, tmp_path: Path) -> None:
    play(ledger)
    project(client, ledger, tmp_path)
    facts = tracking.read_study(client, "held").results.facts
    assert asdict(facts)["provenance"] == PROVENANCE
    assert (facts.teacher.label, facts.teacher.test_accuracy) == ("convnet-d3-w8", 90.0)
    assert [arm.name for arm in facts.arms] == ["bp-convnet", "lp-convnet"]
    assert facts.budget["trials per arm"] == "3"
    assert facts.budget["pruner"] == "none, for depth or width are searched"


@pytest.mark.parametrize(
    ("students", "pruner", "message"),
    [
        ([{"depth": 2}], "median", "median"),
        (
            [{"depth": 2}, {"depth": {"low": 3, "high": 4}}],
            "median",
            "median, by accuracy and MACs where depth or width are searched",
        ),
        (
            [{"depth": {"low": 3, "high": 4}}],
            "halving",
            "halving, by accuracy and MACs where depth or width are searched",
        ),
        ([{"depth": {"low": 3, "high": 4}}], "none", "none"),
    ],
)
def test_pruner_is_said_of_the_arms_that_it_prunes(
    students: list[dict[str, object]], pruner: str, message: str
) -> None:
    table = SPACE | {
        "students": [{"family": "convnet", "width": 4} | student for student in students],
        "budget": {"trials": 3, "epochs": EPOCHS, "seeds": 2, "pruner": pruner},
    }
    assert pruner_words(parse(table, "here"), judges_fronts=True) == message
    earlier = pruner_words(parse(table, "here"), judges_fronts=False)  # begun before they were judged
    assert ("none" in earlier) is ("MACs" in message or message == "none")
