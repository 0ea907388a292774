"""A begun study that takes arms, trials and seeds, and hides arms that its file no longer has."""

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from storage_writes import KilledError, kill_after

from lpstudy.command.budget_notes import budget_notes
from lpstudy.command.overview import make_overview
from lpstudy.damage import DamagedError
from lpstudy.ledger import Assignment, Ledger, Record, engine_at, ledger_file_url, read_ledger
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

BP, KD = "bp-convnet-d2-w4", "kd-convnet-d2-w4"
ONE = {"bp": {}}
TWO = {"kd": {"weight": {"low": 0.1, "high": 1.0}}, "bp": {}}
STUDENTS = [{"family": "convnet", "depth": 2, "width": width} for width in (2, 4)]


@pytest.fixture
def url(empty_storage: Path, tmp_path: Path) -> str:
    shutil.copy(empty_storage, tmp_path)
    return ledger_file_url(tmp_path)


def budget(trials: int, seeds: int = 2) -> dict[str, int]:
    return {"trials": trials, "epochs": 2, "seeds": seeds}


def comparable(ledger: Ledger) -> dict[str, Record]:
    """The runs by key, without times and without ids of the storage."""
    return {
        one.assignment.key: replace(
            one, started=None, ended=None, assignment=replace(one.assignment, storage_id=0)
        )
        for one in ledger.records()
    }


def played(spec: StudySpec, reopen: Open, play: Any) -> Ledger:
    ledger = reopen(spec)
    play.all(ledger)
    return ledger


FEW = budget(2, 1)
GROWTH = {
    "a method": ({"methods": ONE, "budget": FEW}, {"methods": TWO, "budget": FEW}),
    "a student": ({"students": STUDENTS[1:], "budget": FEW}, {"students": STUDENTS, "budget": FEW}),
    "a method of one student": (
        {"students": [STUDENTS[0] | {"methods": ["bp"]}], "budget": FEW},
        {"students": STUDENTS[:1], "budget": FEW},
    ),
    "trials": ({"methods": ONE, "budget": budget(3)}, {"methods": ONE, "budget": budget(9)}),
    "seeds": ({"methods": ONE, "budget": budget(3, 1)}, {"methods": ONE, "budget": budget(3, 4)}),
}


@pytest.mark.parametrize("kind", GROWTH)
def test_a_grown_study_equals_one_that_had_everything_from_the_start(
    kind: str, make: Make, reopen: Open, play: Any
) -> None:
    few, all_of_it = GROWTH[kind]
    first = comparable(played(make(**few), reopen, play))
    handed = {run.key for run in play.handed}
    play.handed.clear()
    grown = comparable(played(make(**all_of_it), reopen, play))
    assert first.items() <= grown.items()
    assert not handed & {run.key for run in play.handed}  # nothing is trained again
    whole = comparable(played(make(**all_of_it).model_copy(update={"name": "whole"}), reopen, play))
    finals_of_earlier_winners = grown.keys() - whole.keys()
    assert all("final" in key for key in finals_of_earlier_winners)
    assert {key: one for key, one in grown.items() if key not in finals_of_earlier_winners} == whole


@pytest.mark.parametrize("writes", [0, 3, 5, 6, 8, 11])
def test_a_kill_while_growing_changes_nothing(
    writes: int, make: Make, reopen: Open, play: Any, url: str
) -> None:
    small, large = {"budget": budget(1, 1), "methods": ONE}, {"budget": budget(1, 1), "methods": TWO}
    first = comparable(played(make(**small), reopen, play))
    with pytest.MonkeyPatch.context() as patch:
        kill_after(writes, patch)
        with suppress(KilledError):
            played(make(**large), reopen, play)
    assert make_overview(read_ledger(url, "small"), engine_at(url), "small").done >= len(first)
    grown = comparable(played(make(**large), reopen, play))
    assert first.items() <= grown.items()
    whole = comparable(played(make(**large).model_copy(update={"name": "whole"}), reopen, play))
    attempts = {
        key: replace(one, assignment=replace(one.assignment, attempt=1)) for key, one in grown.items()
    }
    assert attempts == whole
    (change,) = read_ledger(url, "small").growth
    assert change["added"] == [KD]


def test_each_extension_is_recorded(make: Make, reopen: Open, play: Any, url: str) -> None:
    played(make(methods=ONE), reopen, play)
    assert read_ledger(url, "small").growth == []
    for _ in range(2):  # the second start changes nothing
        played(make(methods=TWO, budget=budget(4)), reopen, play)
    reopen(make(methods=ONE, budget=budget(4, 3)))
    reopen(make(methods=TWO, budget=budget(4, 3)))
    growth = read_ledger(url, "small").growth
    assert [{k: v for k, v in one.items() if k not in ("time", "version") and v} for one in growth] == [
        {"runs": 5, "added": [KD], "trials": [3, 4]},
        {"runs": 12, "hidden": [KD], "seeds": [2, 3]},
        {"runs": 12, "restored": [KD]},
    ]
    assert all(one["time"] > 1e9 and one["version"] for one in growth)


def test_a_new_arm_has_no_earlier_winner_to_beat(make: Make, reopen: Open, play: Any) -> None:
    played(make(methods=ONE, budget=FEW), reopen, play)
    grown = reopen(make(methods=TWO, budget=FEW))
    assert list(budget_notes(grown, grown.spec.budget)) == []


def test_a_hidden_arm_stays_in_the_ledger_and_comes_back_untouched(
    make: Make, reopen: Open, play: Any, url: str
) -> None:
    before = comparable(played(make(methods=TWO), reopen, play))
    hidden = reopen(make(methods=ONE))
    for progress in (hidden, read_ledger(url, "small")):
        assert progress.hidden == {KD: 5}
        assert progress.arm_names == (BP,)
        assert {one.assignment.arm for one in progress.records()} == {BP}
        assert progress.is_complete()
        assert progress.expected_runs == 5
    play.handed.clear()
    assert comparable(played(make(methods=TWO), reopen, play)) == before
    assert play.handed == []
    assert read_ledger(url, "small").hidden == {}


def test_unfinished_runs_of_a_hidden_arm_wait_until_it_is_back(
    make: Make, reopen: Open, play: Any, url: str
) -> None:
    ledger = reopen(make(methods=TWO, budget=budget(1, 1)))
    run = ledger.next()
    assert isinstance(run, Assignment)
    assert run.arm == KD
    hidden = reopen(make(methods=ONE, budget=budget(1, 1)))
    play.all(hidden)
    assert hidden.is_complete()
    assert {one.arm for one in play.handed} == {BP}
    again = reopen(make(methods=TWO, budget=budget(1, 1)))
    resumed = again.next()
    assert isinstance(resumed, Assignment)
    assert (resumed.key, resumed.attempt) == (run.key, 2)


def test_a_changed_arm_is_refused_even_where_it_is_hidden(make: Make, reopen: Open, url: str) -> None:
    reopen(make(methods=TWO))
    reopen(make(methods=ONE))
    rows = read_ledger(url, "small").records()
    other = {"bp": {}, "kd": {"weight": {"low": 0.1, "high": 2.0}}}
    with pytest.raises(ValueError, match=r"another space: methods\.kd\.weight\.high: 1\.0 -> 2\.0; restore"):
        reopen(make(methods=other))
    assert read_ledger(url, "small").records() == rows


def test_a_refused_file_leaves_the_ledger_readable(make: Make, reopen: Open, url: str) -> None:
    reopen(make())
    students = [{"family": "convnet", "depth": 2, "width": 9}]
    with pytest.raises(ValueError, match="another space"):
        reopen(make(students=students, data={"kind": "digits", "pad": 1}))
    assert read_ledger(url, "small").arm_names == (BP, KD)


def test_the_order_of_the_file_is_that_of_the_arms(make: Make, reopen: Open, url: str) -> None:
    reopen(make(methods={"bp": {}, "kd": {}}))
    reopen(make(methods={"kd": {}, "bp": {}}))
    assert read_ledger(url, "small").arm_names == (KD, BP)


def test_a_ledger_of_an_older_lpstudy_grows(make: Make, reopen: Open, play: Any, url: str) -> None:
    before = comparable(played(make(methods=ONE, budget=FEW), reopen, play))
    with engine_at(url).begin() as connection:
        connection.exec_driver_sql("DELETE FROM study_user_attributes WHERE key IN ('arms', 'weights')")
    assert read_ledger(url, "small").arm_names == (BP,)
    grown = played(make(methods=TWO, budget=FEW), reopen, play)
    assert before.items() <= comparable(grown).items()
    assert [one["added"] for one in grown.growth] == [[KD]]


def test_weights_files_are_held_to_each_student(make: Make, reopen: Open) -> None:
    ledger = reopen(make())
    ledger.check_unchanged("images", "", {"a": "1" * 64})
    ledger.check_unchanged("images", "", {"b": "2" * 64})
    with pytest.raises(ValueError, match=rf"other weights \(a: {'1' * 16} -> {'3' * 16}\)"):
        ledger.check_unchanged("images", "", {"a": "3" * 64, "b": "2" * 64})


def test_one_hash_of_all_weights_files_in_an_older_ledger_is_held_too(
    make: Make, reopen: Open, url: str
) -> None:
    students = [STUDENTS[1] | {"weights": "a.safetensors"}]
    weights = {"convnet-d2-w4": "1" * 64}
    reopen(make(students=students)).check_unchanged("images", "", weights)
    combined = hashlib.sha256(json.dumps(["images", "1" * 64]).encode()).hexdigest()[:16]
    with engine_at(url).begin() as connection:
        connection.exec_driver_sql("DELETE FROM study_user_attributes WHERE key IN ('arms', 'weights')")
        change = f"UPDATE study_user_attributes SET value_json = '\"{combined}\"' WHERE key = 'content'"
        connection.exec_driver_sql(change)
    ledger = Ledger(url, make(students=students), input_shape=(1, 8, 8), classes=10)
    with pytest.raises(ValueError, match="started with other weights"):
        ledger.check_unchanged("images", "", {"convnet-d2-w4": "2" * 64})
    ledger.check_unchanged("images", "", weights)
    ledger.check_unchanged("images", "", weights)


def test_an_arm_without_rows_is_damage(make: Make, reopen: Open, url: str) -> None:
    reopen(make())
    with engine_at(url).begin() as connection:
        connection.exec_driver_sql("DELETE FROM studies WHERE study_name LIKE 'small/kd%%'")
    with pytest.raises(DamagedError, match="arms"):
        read_ledger(url, "small")
