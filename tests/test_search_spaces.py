"""The study files of the package, without their data."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from commands import ROOT, environment

from lpstudy.cost import cost_of
from lpstudy.methods import TrainingSamples
from lpstudy.methods.reductions import teacher_outputs
from lpstudy.outputs import Network, Outputs
from lpstudy.space import (
    Arm,
    StudentSpec,
    StudySpec,
    Training,
    find_study_file,
    known_studies,
    read_study_file,
)
from lpstudy.space.ranges import Choices, Range, corners
from lpstudy.students import build

SHAPES = {
    "digits": ((1, 8, 8), 10),
    "mnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "imagenet": ((3, 224, 224), 1000),
}
ALL = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))
PAIR = "cifar100_resnet56_resnet20"
"""One of the ten standard pairs, which have the same methods; see test_plans_of_studies.py for the others."""
NAMES = [name for name in ALL if not name.startswith("cifar100_") or name == PAIR]
METHODS = {"bp", "kd", "fitnet", "lp", "lp_kd"}


@pytest.fixture(params=NAMES)
def spec(request: pytest.FixtureRequest) -> StudySpec:
    return read_study_file(find_study_file(request.param))


def skeleton(student: StudentSpec, spec: StudySpec) -> Network:
    shape, classes = SHAPES[spec.data.kind]
    with torch.device("meta"):
        return build(student, input_shape=shape, classes=classes).eval()


def outputs(network: Network, spec: StudySpec, maps: tuple[str, ...]) -> Outputs:
    shape, _ = SHAPES[spec.data.kind]
    with torch.no_grad():
        return teacher_outputs(network, torch.empty(2, *shape, device="meta"), maps)


def ends(arm: Arm) -> list[dict[str, object]]:
    return list(corners(arm.student.searched | arm.hyperparameters))


def test_all_are_known() -> None:
    assert {"cifar10", "cifar100", "digits", "imagenet", "mnist", "smoke"} <= {*ALL} <= {*known_studies()}


def test_every_method_has_an_arm_for_every_student(spec: StudySpec) -> None:
    if spec.name not in ("lp_ablation", "vanilla_strong"):
        assert set(spec.methods) >= METHODS
    assert len(spec.arms()) == sum(len(student.methods or spec.methods) for student in spec.students)


def test_every_arm_resolves_at_both_ends(spec: StudySpec) -> None:
    for arm in spec.arms():
        for values in ends(arm):
            trial = arm.resolve(values, epochs=spec.budget.epochs, seed=0)
            assert trial.method.method == arm.loss


def test_networks_and_regressors_fit_the_images(spec: StudySpec) -> None:
    teacher = skeleton(spec.teacher.network, spec)
    _, classes = SHAPES[spec.data.kind]
    for arm in spec.arms():
        for values in list(corners(arm.student.searched)):
            trial = arm.resolve(next(corners(arm.hyperparameters)) | values, epochs=1, seed=0)
            student = skeleton(trial.student, spec)
            method = trial.method.resolved(student, teacher)
            student_outputs = outputs(student, spec, method.student_maps())
            target = outputs(teacher, spec, method.teacher_needs().maps)
            assert student_outputs.logits.shape == target.logits.shape == (2, classes)
            method.auxiliary(student_outputs, target, TrainingSamples(torch.arange(2)))


def test_students_within_the_limits_are_smaller_than_their_teacher(spec: StudySpec) -> None:
    shape, classes = SHAPES[spec.data.kind]
    teacher = cost_of(spec.teacher.network, input_shape=shape, classes=classes)
    for arm in spec.arms():
        for values in corners(arm.student.searched):
            student = cost_of(arm.student_spec(values), input_shape=shape, classes=classes)
            if student.macs <= (spec.constraints.max_macs or student.macs):
                assert student.macs < teacher.macs
                assert student.parameters < teacher.parameters


def test_no_sample_has_more_neighbours_than_the_batch_has_others(spec: StudySpec) -> None:
    for arm in spec.arms():
        for values in ends(arm):
            batch = values.get("batch_size", Training().batch_size)
            assert int(values.get("n_neighbors", 1)) < int(batch)


def test_ranges_are_those_that_science_bears_out(spec: StudySpec) -> None:
    for arm in spec.arms():
        gamma = arm.hyperparameters.get("gamma")
        if arm.loss == "lp" and isinstance(gamma, Range):
            assert gamma == Range(low=1e-4, high=1e-1, log=True)
        neighbours = arm.hyperparameters.get("n_neighbors", 1)
        allowed = neighbours.choices if isinstance(neighbours, Choices) else (neighbours,)
        assert set(allowed) <= {1, 2, 3, 5, 8}


def test_a_wheel_brings_them_along(tmp_path: Path) -> None:
    build_wheel = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    pytest.importorskip("hatchling", reason="building a wheel offline needs hatchling in the environment")
    done = subprocess.run(
        [sys.executable, "-c", build_wheel, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wheel = tmp_path / done.stdout.split()[-1]
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    files = "(s.find_study_file(name) for name in s.known_studies())"
    code = f"import lpstudy.space as s; print(s.__file__, *{files}, sep='\\n')"
    lines = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(installed)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert lines[0].startswith(str(installed))
    assert lines[1:] == [str(installed / f"lpstudy/search_spaces/{name}.toml") for name in NAMES]


def test_one_in_the_working_directory_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    local_file = Path("search_spaces/digits.toml")
    local_file.parent.mkdir()
    local_file.write_text("")
    assert find_study_file("digits") == local_file
    assert find_study_file("mnist").is_file()
