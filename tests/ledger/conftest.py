import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from postgres_server import Postgres

from lpstudy.ledger import Assignment, Done, Ledger, Waiting, ledger_file_url
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec, parse

SHAPE, CLASSES = (1, 8, 8), 10

Table = dict[str, Any]
Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]
Accuracy = Callable[[Assignment, int], float]


class Play:
    """Plays the runs of a ledger with invented accuracies, and records them."""

    def __init__(self, accuracy: Accuracy) -> None:
        self.accuracy = accuracy
        self.handed: list[Assignment] = []

    def one(self, ledger: Ledger, *, searching: bool = True) -> Assignment | Waiting | Done:
        """Run the next assignment to its end."""
        assignment = ledger.next(searching=searching)
        if isinstance(assignment, Assignment):
            self.handed.append(assignment)
            self.run(ledger, assignment)
        return assignment

    def run(self, ledger: Ledger, assignment: Assignment) -> None:
        """Report every epoch and the end of a run."""
        for epoch in range(1, ledger.spec.budget.epochs + 1):
            result = EpochResult(epoch, {"validation_accuracy": self.accuracy(assignment, epoch)})
            if ledger.report(assignment, [result]):
                ledger.finish(assignment, "pruned")
                return
        ledger.finish(assignment, "finished")

    def all(self, ledger: Ledger) -> None:
        """Run all assignments of the ledger."""
        while not isinstance(self.one(ledger), Done):
            pass


def by_rate(assignment: Assignment, epoch: int) -> float:
    """An accuracy in percent that is best at a learning rate of 0.005."""
    return 90 + epoch / 100 - 1000 * abs(float(assignment.values["learning_rate"]) - 0.005)


@pytest.fixture
def play() -> Play:
    return Play(by_rate)


@pytest.fixture
def make() -> Make:
    """A study of two arms with one searched hyperparameter; keywords replace whole sections."""

    def make_study(**sections: Table | list[Table]) -> StudySpec:
        table: Table = {
            "name": "small",
            "data": {"kind": "digits"},
            "teacher": {"family": "convnet", "depth": 2, "width": 8},
            "students": [{"family": "convnet", "depth": 2, "width": 4}],
            "methods": {"bp": {}, "kd": {}},
            "training": {"learning_rate": {"low": 1e-3, "high": 1e-2}},
            "budget": {"trials": 3, "epochs": 2, "seeds": 2},
            "finals": {"candidates": 1, "front": 1},
        }
        return parse(table | sections, "here")

    return make_study


@pytest.fixture(scope="session")
def empty_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with empty tables, whose creation by Optuna is slow."""
    folder = tmp_path_factory.mktemp("storage")
    optuna.storages.RDBStorage(ledger_file_url(folder)).remove_session()
    return folder / "ledger.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database, once of SQLite and once of PostgreSQL."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("server")
        database_url = server.database(request.getfixturevalue("empty_database"))
        yield database_url
        server.drop(database_url)
    else:
        shutil.copy(request.getfixturevalue("empty_storage"), tmp_path)
        yield ledger_file_url(tmp_path)


@pytest.fixture
def reopen(url: str) -> Open:
    """Open the ledger of the test's storage as a new process does."""

    def open_ledger(spec: StudySpec) -> Ledger:
        ledger = Ledger(url, spec, input_shape=SHAPE, classes=CLASSES)
        ledger.check_unchanged("images")
        ledger.adopt_unfinished()
        return ledger

    return open_ledger
