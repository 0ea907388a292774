"""Eight sweeps at the same time on one cluster and one PostgreSQL server; one is killed and restarted."""

import json
from pathlib import Path

import pytest
from commands import call, run, start, wait_for, wait_for_exit, write_study
from postgres_server import Postgres
from raylets import raylets

from lpstudy import status
from lpstudy.ledger import Record, UnwritableError, read_ledger

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]
STUDIES = [f"tiny{number}" for number in range(8)]
EPOCHS = 300


def records_of(url: str, study: str) -> list[Record]:
    """The records of a study's ledger; none before its start."""
    try:
        return read_ledger(url, study).records()
    except (ValueError, UnwritableError):
        return []


def epochs(url: str, study: str) -> int:
    return sum(len(record.epochs) for record in records_of(url, study))


def test_all_end_whole(server: Postgres, empty_database: str, tmp_path: Path) -> None:
    url = server.database(empty_database)
    with raylets(num_cpus=8) as cluster:
        processes = {}

        def begin(study: str) -> None:
            folder = tmp_path / study
            folder.mkdir(exist_ok=True)
            write_study(
                folder,
                ("epochs = 2\n", f"epochs = {EPOCHS}\n"),
                ("trials = 1", "trials = 2"),
                ("checkpoint_seconds = 0.0", "checkpoint_seconds = 0.5"),
                name=study,
            )
            words = [f"{study}.toml", "--ledger", url, "--storage", str(tmp_path / "studies")]
            processes[study] = start(
                folder, "sweep", *words, "--concurrent", "1", RAY_ADDRESS=cluster.address
            )

        try:
            for study in STUDIES:
                begin(study)
            killed, paused = STUDIES[0], STUDIES[1]
            wait_for(lambda: all(epochs(url, study) for study in (killed, paused)), seconds=500)
            processes[killed].kill()
            processes[killed].communicate()
            acknowledged = records_of(url, killed)
            begin(killed)
            words = [paused, "--ledger", url, "--json"]
            for command in ("pause", "resume"):
                answer = run(tmp_path, "__main__", command, *words)
                assert json.loads(answer.out)["heard"], answer
            result = {study: wait_for_exit(process) for study, process in processes.items()}
        finally:
            for process in processes.values():
                process.kill()
    assert {study: one.code for study, one in result.items()} == dict.fromkeys(STUDIES, 0), result
    for study in STUDIES:
        ledger_records = records_of(url, study)
        assert len({record.assignment.key for record in ledger_records}) == len(ledger_records) == 3
        assert {record.state for record in ledger_records} <= {"finished", "pruned"}
        for record in ledger_records:
            assert [e.epoch for e in record.epochs] == list(range(1, len(record.epochs) + 1))
        assert (tmp_path / study / f"reports/{study}/report.md").is_file()
    after = {record.assignment.key: record for record in records_of(url, killed)}
    for record in acknowledged:
        assert after[record.assignment.key].epochs[: len(record.epochs)] == record.epochs
    statuses = json.loads(
        call(lambda words: status.main(words, "list"), tmp_path, "--ledger", url, "--json").out
    )
    assert {one["study"]: one["state"] for one in statuses} == dict.fromkeys(STUDIES, "finished")
