"""A driver of the tiny study's runs, whose jobs are the ledger's assignments."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import write_study

from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Ledger, ledger_file_url
from lpstudy.space import parse
from lpstudy.study import Driver, StudyControl


@dataclass(frozen=True)
class AssignmentJobs:
    """Jobs of a driver that are the assignments themselves.

    Args:
        newest: Returns the name of a run's newest checkpoint.
    """

    newest: Callable[[Assignment], str]

    def job(self, assignment: Assignment) -> Any:
        return assignment

    def newest_checkpoint(self, assignment: Assignment) -> str:
        return self.newest(assignment)

    def drop_checkpoints(self, assignment: Assignment) -> None:
        """There is none."""


def tiny_ledger(folder: Path, *changes: tuple[str, str]) -> Ledger:
    """The ledger of the tiny study with some lines changed."""
    table = tomllib.loads(write_study(folder, *changes).read_text())
    spec = parse({"name": "tiny"} | table, "tiny")
    ledger = Ledger(ledger_file_url(folder), spec, input_shape=(1, 8, 8), classes=10)
    ledger.check_unchanged("a")
    ledger.adopt_unfinished()
    return ledger


def tiny_driver(
    folder: Path,
    *changes: tuple[str, str],
    newest: Callable[[Assignment], str] = lambda assignment: "",
    ends_runs: bool = True,
) -> tuple[Driver, list[str]]:
    """A driver of the tiny study, and the list of the runs' changes that it announces."""
    changed: list[str] = []
    control = StudyControl(LocalFolder(folder), "test")
    driver = Driver(
        tiny_ledger(folder, *changes),
        control,
        AssignmentJobs(newest),
        lambda run: changed.append(run.key.partition("/")[2]),
        ends_runs=ends_runs,
    )
    return driver, changed
