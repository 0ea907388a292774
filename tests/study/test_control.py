"""The control file, by which trials receive requests and which belongs to the newest process."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lpstudy.disk import UnreachableError
from lpstudy.folder import LocalFolder
from lpstudy.ledger import FencedError
from lpstudy.study import StudyControl
from lpstudy.study.control import FILE, ControlReader
from lpstudy.training import Directive


def fenced(old: StudyControl) -> None:
    old.fail(FencedError("another process has taken the study over"), seconds=0.0)


def terminated(old: StudyControl) -> None:
    old.pause_and_exit("terminated", seconds=30.0, signal=15)


@pytest.mark.parametrize(
    "does",
    [
        fenced,
        terminated,
        lambda old: old.send("cancel"),
        lambda old: old.end_run("arm/trial-0"),
        lambda old: old.remove_file(),
    ],
    ids=["is fenced", "is terminated", "cancels", "dismisses", "forgets"],
)
def test_a_process_that_was_taken_over_leaves_the_file_to_the_newer_one(
    does: Callable[[StudyControl], None], tmp_path: Path
) -> None:
    old = StudyControl(LocalFolder(tmp_path), "old")
    new = StudyControl(LocalFolder(tmp_path), "new")
    before = (tmp_path / FILE).read_bytes()
    does(old)
    assert (tmp_path / FILE).read_bytes() == before
    assert ControlReader(str(tmp_path), "new")() is Directive.CONTINUE
    assert ControlReader(str(tmp_path), "old")() is Directive.ABANDON
    new.send("pause")
    assert ControlReader(str(tmp_path), "new")() is Directive.PAUSE


def test_a_trial_whose_storage_has_gone_is_reported_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpstudy.study.control.POLL_SECONDS", 0.0)
    StudyControl(LocalFolder(tmp_path / "study"), "own")
    hearing = ControlReader(str(tmp_path / "study"), "own")
    assert hearing() is Directive.CONTINUE
    (tmp_path / "study").rename(tmp_path / "elsewhere")
    with pytest.raises(UnreachableError, match=f"{tmp_path}/study: was removed"):
        hearing()
    assert ControlReader(str(tmp_path / "study"), "own")() is Directive.CONTINUE  # it has not been there yet


def test_a_file_that_is_damaged_is_written_again(tmp_path: Path) -> None:
    control = StudyControl(LocalFolder(tmp_path), "own")
    (tmp_path / FILE).write_text("{")
    control.send("pause")
    assert json.loads((tmp_path / FILE).read_bytes())["request"] == "pause"
    control.remove_file()
    assert not (tmp_path / FILE).exists()
