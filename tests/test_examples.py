"""The examples of docs/extending.md, and the page itself."""

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import call, error_line
from imports import no_imported_code

from lpstudy import deploy, export, plan, reconcile, report, status, sweep
from lpstudy.command.prepare import PreparedStudy, prepare
from lpstudy.cost import cost
from lpstudy.methods import METHODS
from lpstudy.methods.declaration import StandIn
from lpstudy.space.ranges import corners
from lpstudy.teacher import OnlineTeacher, untrained_teacher
from lpstudy.testing import check_method
from lpstudy.training import train

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CODE = [EXAMPLES / "my_own.py"]
STUDY = str(EXAMPLES / "my_own.toml")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedStudy]:
    flags = {"trials": None, "epochs": None, "seeds": None, "data_root": None, "imports": CODE}
    with no_imported_code():
        yield prepare(Namespace(study=STUDY, **flags))


def test_the_page_shows_the_files_as_they_are() -> None:
    text = (EXAMPLES.parent / "docs/extending.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in CODE)
    blocks = [
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "check_method" not in block
    ]
    assert len(blocks) == 3
    for block in blocks:
        assert all(part.strip("\n") in sources for part in block.split("    ...\n")), block


def test_the_method_passes_the_checks_of_every_method(prepared: PreparedStudy) -> None:
    check_method(METHODS["logits_l1"])


def test_every_arm_of_the_study_trains(prepared: PreparedStudy) -> None:
    data, spec = prepared.data, prepared.spec
    network = untrained_teacher(spec.teacher, data)
    teacher = OnlineTeacher(network, cost(network, data.input_shape).macs)
    assert [arm.name for arm in spec.arms()] == ["bp-my_own-small", "own-my_own-small"]
    for arm in spec.arms():
        run = arm.resolve(next(corners(arm.searched)), epochs=2, seed=0)
        first, last = train(run, data, teacher, device=CPU)
        assert last.metrics["train_ce"] < first.metrics["train_ce"]
        assert ("train_logits_l1" in last.metrics) == (arm.method == "own")


def test_the_study_names_its_code(prepared: PreparedStudy) -> None:
    files = prepared.spec.imported or ()
    assert [file.name for file in files] == [path.name for path in CODE]
    assert [code.sha256 for code in prepared.imported] == [file.sha256 for file in files]
    assert [output.name for output in prepared.plan.banked_outputs] == ["logits"]


def imports(folder: Path = EXAMPLES) -> list[str]:
    paths = [folder / path.name if (folder / path.name).exists() else path for path in CODE]
    return [word for path in paths for word in ("--import", str(path))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study's sweep, whose code this process has not run."""
    folder = tmp_path_factory.mktemp("examples")
    with no_imported_code():
        result = call(sweep.main, folder, STUDY, "--in-process", "--trials", "1", "--epochs", "2", *imports())
    assert result.code == 0, result
    return folder


def test_the_report_is_written_again_without_the_code(finished: Path) -> None:
    report_file = finished / "reports/my_own/report.md"
    before = report_file.read_text()
    with no_imported_code():
        assert call(report.main, finished, "my_own").code == 0
        assert issubclass(METHODS["logits_l1"], StandIn)
    assert report_file.read_text() == before
    shown = before.replace("\\", "")
    assert all(f"{path.name} " in shown for path in CODE)
    # A third of the images are rings, so that its accuracies by class are shown.
    assert "balanced %" in before
    assert (finished / "reports/my_own/classes.csv").read_text().count("disc") == 2
    with no_imported_code():
        assert "own-my_own-small" in call(status.main, finished, "my_own").out


def test_what_needs_the_code_of_a_network_says_so(finished: Path) -> None:
    words = "the code of my_own:Small is not imported: give --import my_own.py"
    with no_imported_code():
        assert words in call(deploy.main, finished, "my_own").err
    for main, args in ((export.main, []), (reconcile.main, ["--check"])):
        with no_imported_code():
            result = call(main, finished, "my_own", *args)
            assert (result.code, error_line(result).partition(": ")[2]) == (2, f"{words}\n")
        with no_imported_code():
            assert call(main, finished, "my_own", *args, *imports()).code == 0


def test_another_version_of_the_code_does_not_resume_the_study(finished: Path, tmp_path: Path) -> None:
    text = (EXAMPLES / "my_own.py").read_text()
    (tmp_path / "my_own.py").write_text(text.replace("= 1.0", "= 2.0"))
    with no_imported_code():
        flags = ("--in-process", "--trials", "1", "--epochs", "2", *imports(tmp_path))
        result = call(sweep.main, finished, STUDY, *flags)
    assert result.code == 2
    assert "study 'my_own' was started with other imported code (my_own.py " in error_line(result)


def test_a_study_without_its_code_or_with_bad_code_is_refused(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\nprint(y)\n")
    for main in (plan.main, sweep.main):
        with no_imported_code():
            assert "data.kind: my_own:read needs the flag --import my_own.py" in error_line(
                call(main, finished, STUDY)
            )
            bad = call(main, finished, STUDY, "--import", str(tmp_path / "bad.py"))
        assert bad.code == 2
        assert error_line(bad).endswith("bad.py:2: NameError: name 'y' is not defined\n")
