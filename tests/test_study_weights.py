"""Initial weights of a study: found from any folder, checked against the networks, part of its identity."""

import hashlib
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import CommandResult, call, error_line, files, write_study
from safetensors.torch import load_file, save_file

from lpstudy import plan, sweep
from lpstudy.command.prepare import PreparedStudy, prepare
from lpstudy.command.starting_weights import share_weights, student_hashes
from lpstudy.command.study_words import teacher_lines
from lpstudy.space import StudentSpec, read_study_file
from lpstudy.students import WeightsFile, build, fit_weights, skeleton
from lpstudy.teacher import TrainedTeacher, load_or_train
from lpstudy.training import train

TEACHER = ("width = 4", 'width = 4\nweights = "teacher.safetensors"')
STUDENT = ("width = 2", 'width = 2\nweights = "student.safetensors"')


def save(folder: Path, name: str, *, width: int, classes: int = 10, seed: int = 1, prefix: str = "") -> None:
    spec = StudentSpec(family="convnet", depth=2, width=width)
    state = build(spec, input_shape=(1, 8, 8), classes=classes, seed=seed).state_dict()
    save_file({f"{prefix}{key}": value for key, value in state.items()}, folder / f"{name}.safetensors")


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> PreparedStudy:
    monkeypatch.chdir(folder)
    write_study(folder, *changes)
    flags = {"trials": None, "epochs": None, "seeds": None, "data_root": None, "imports": []}
    return prepare(Namespace(study="tiny.toml", **flags))


def refused(folder: Path, *changes: tuple[str, str]) -> str:
    write_study(folder, *changes)
    result: CommandResult = call(sweep.main, folder, "tiny.toml")
    assert result.code == 2, result
    return error_line(result)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_both_networks_start_from_their_files(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "teacher", width=4, prefix=prefix)
    save(tmp_path, "student", width=2, prefix=prefix, seed=5)
    prepared_study = prepared(tmp_path, monkeypatch, TEACHER, STUDENT)
    (arm,) = prepared_study.spec.arms()
    student = build(arm.student_spec({}), input_shape=(1, 8, 8), classes=10, seed=0).state_dict()
    expected = build(
        StudentSpec(family="convnet", depth=2, width=2), input_shape=(1, 8, 8), classes=10, seed=5
    )
    assert all(torch.equal(student[name], value) for name, value in expected.state_dict().items())
    start = f"trials and finals start from {prepared_study.weights.files['student.safetensors'][:16]}"
    where, names = "students: convnet-d2-w2: weights", f"reads its tensors, without {prefix}"
    expected_notes = [f"[teacher] weights: {names}", f"{where}: {start}", f"{where}: {names}"]
    assert list(prepared_study.weights.notes) == (expected_notes if prefix else expected_notes[1:2])


def test_a_run_starts_from_the_copy_that_all_nodes_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "student", width=2)
    prepared_study = prepared(tmp_path, monkeypatch, STUDENT, ("high = 1e-1", "high = 1e-3"))
    places = share_weights(prepared_study.weights)
    monkeypatch.chdir("/")
    (place,) = places.values()
    assert Path(place).name == f"{prepared_study.weights.files['student.safetensors']}.safetensors"
    (arm,) = prepared_study.spec.arms()
    trial = arm.resolve({"learning_rate": 1e-12}, epochs=1, seed=1)
    shared = trial.model_copy(update={"student": trial.student.model_copy(update={"weights": place})})
    list(train(shared, prepared_study.data, None, device=torch.device("cpu"), folder=tmp_path / "run"))
    learnt, start = (
        load_file(tmp_path / "run/weights.safetensors"),
        load_file(tmp_path / "student.safetensors"),
    )
    for name in ("layers.conv1.0.weight", "classifier.weight"):  # next to nothing was learnt
        torch.testing.assert_close(learnt[name], start[name], rtol=0, atol=1e-8)


def test_a_checkpoint_of_torch_is_copied_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(
        StudentSpec(family="convnet", depth=2, width=2), input_shape=(1, 8, 8), classes=10, seed=3
    )
    torch.save({"net": network.state_dict(), "epoch": 9}, tmp_path / "student.ckpt")
    prepared_study = prepared(tmp_path, monkeypatch, ("width = 2", 'width = 2\nweights = "student.ckpt"'))
    (place,) = share_weights(prepared_study.weights).values()
    digest = prepared_study.weights.files["student.ckpt"]
    assert Path(place).name == f"{digest}.pth"
    assert Path(place).read_bytes() == (tmp_path / "student.ckpt").read_bytes()
    assert prepared_study.weights.notes[-1] == (
        "students: convnet-d2-w2: weights: reads the tensors of its key net"
    )
    student = StudentSpec(family="convnet", depth=2, width=2, weights=place)
    state = build(student, input_shape=(1, 8, 8), classes=10).state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_a_damaged_copy_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "student", width=2)
    prepared_study = prepared(tmp_path, monkeypatch, STUDENT)
    (place,) = share_weights(prepared_study.weights).values()
    content = Path(place).read_bytes()
    Path(place).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    share_weights(prepared_study.weights)
    assert Path(place).read_bytes() == content


def test_a_file_that_changes_while_the_study_starts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "student", width=2, seed=11)
    prepared_study = prepared(tmp_path, monkeypatch, STUDENT)
    save(tmp_path, "student", width=2, seed=12)
    with pytest.raises(ValueError, match=r"student\.safetensors has changed while the study started"):
        share_weights(prepared_study.weights)


def test_what_students_start_from_is_part_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = prepared(tmp_path, monkeypatch)
    assert student_hashes(plain.spec, plain.weights) == {}
    for seed in (1, 2):
        save(tmp_path, "student", width=2, seed=seed)
        prepared_study = prepared(tmp_path, monkeypatch, STUDENT)
        content = (tmp_path / "student.safetensors").read_bytes()
        hashes = {"convnet-d2-w2": hashlib.sha256(content).hexdigest()}
        assert student_hashes(prepared_study.spec, prepared_study.weights) == hashes


def test_a_head_of_another_class_count_is_reported_and_its_logits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "teacher", width=4, classes=7)
    save(tmp_path, "student", width=2, classes=3)
    prepared_study = prepared(
        tmp_path,
        monkeypatch,
        TEACHER,
        STUDENT,
        ("[methods.bp]", "[methods.bp]\n[methods.lp]\nn_neighbors = 3"),
    )
    note, _, student = prepared_study.weights.notes
    assert note == (
        "[teacher] weights: the file has 7 classes, the data 10: the last layer (classifier) is new,"
        " so its logits are untrained"
    )
    assert student.endswith("the file has 3 classes, the data 10: the last layer (classifier) is new")


LOGITS = {
    "kd": ("[methods.kd]", True),
    "kd, a range from 0": ("[methods.kd]\nweight = { low = 0.0, high = 1.0 }", True),
    "kd of no weight": ("[methods.kd]\nweight = 0.0", False),
    "lp with kd": ("[methods.lp_kd]\nmethod = 'lp'\nn_neighbors = 3\nkd_weight = 1.0", True),
    "fitnet": ("[methods.fitnet]", True),
    "fitnet, kd at its begin alone": ("[methods.fitnet]\nkd_end_fraction = 0.0", True),
    "fitnet, the hint alone": ("[methods.fitnet]\nkd_weight = 0.0", False),
    "lp": ("[methods.lp]\nn_neighbors = 3", False),
    "dkd": ("[methods.dkd]", True),
    "dist": ("[methods.dist]", True),
    "dist of no weight": ("[methods.dist]\nbeta = 0.0\ngamma = 0.0", False),
    "wttm": ("[methods.wttm]", True),
    "crd": ("[methods.crd]", False),
    "srrl": ("[methods.srrl]", True),
    "simkd": ("[methods.simkd]", True),
}
"""Tables of methods, and whether the method learns from the teacher's logits."""


@pytest.mark.parametrize("case", LOGITS)
def test_methods_that_learn_from_untrained_logits_are_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, learns = LOGITS[case]
    save(tmp_path, "teacher", width=4, classes=7)
    changes = (TEACHER, ("[methods.bp]", table))
    if not learns:
        assert prepared(tmp_path, monkeypatch, *changes).weights.teacher_head is not None
        return
    line = refused(tmp_path, *changes)
    name = table.partition("]")[0].removeprefix("[methods.")
    assert f"methods.{name}: learns from the teacher's logits, which are untrained" in line
    assert "the file has 7 classes, the data 10" in line
    save(tmp_path, "teacher", width=4)
    assert prepared(tmp_path, monkeypatch, *changes).weights.teacher_head is None


def _searched(folder: Path) -> tuple[str, str]:
    return (
        "depth = 2\nwidth = 2",
        'depth = 2\nwidth = { low = 2, high = 4 }\nweights = "student.safetensors"',
    )


def _gone(folder: Path) -> tuple[str, str]:
    (folder / "student.safetensors").unlink()
    return STUDENT


def _of_another_size(folder: Path) -> tuple[str, str]:
    save(folder, "student", width=3)
    return STUDENT


def _pickled(folder: Path) -> tuple[str, str]:
    torch.save({"args": Namespace()}, folder / "student.pth")
    return ("width = 2", 'width = 2\nweights = "student.pth"')


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (_searched, ["students.0: weights: fit one size, so width cannot be searched with them"]),
        (_gone, ["students: convnet-d2-w2: weights: no weights at student.safetensors", "working directory"]),
        (
            _of_another_size,
            ["students: convnet-d2-w2: weights: student.safetensors", "has shape", "[3, 1, 3, 3]"],
        ),
        (_pickled, ["students: convnet-d2-w2: weights: student.pth", "convert it once: python -c"]),
    ],
)
def test_weights_that_do_not_fit_a_student_are_refused(
    case: Callable[[Path], tuple[str, str]], words: list[str], tmp_path: Path
) -> None:
    save(tmp_path, "student", width=2)
    line = refused(tmp_path, case(tmp_path))
    assert all(word in line for word in words), line
    assert not (tmp_path / "studies").exists()


def test_a_plan_tells_what_is_started_from(tmp_path: Path) -> None:
    save(tmp_path, "teacher", width=4, classes=7)
    write_study(tmp_path, TEACHER)
    result = call(plan.main, tmp_path, "tiny.toml")
    assert result.code == 0, result.err
    assert "the file has 7 classes, the data 10: the last layer (classifier) is new" in result.out
    assert files(tmp_path) == ["teacher.safetensors", "tiny.toml"]


def test_the_imagenet_study_takes_published_weights_as_its_comment_says(tmp_path: Path) -> None:
    from torchvision import models

    text = (Path(__file__).resolve().parents[1] / "search_spaces/imagenet.toml").read_text()
    assert text.count("\n# weights = ") == 1
    path = tmp_path / "imagenet.toml"
    path.write_text(text.replace("\n# weights = ", "\nweights = "))
    teacher = read_study_file(path).teacher
    assert teacher.weights == "resnet34.pth"
    with torch.device("meta"):
        published = models.resnet34().state_dict()
    network = skeleton(teacher.network, input_shape=(3, 224, 224), classes=1000)
    state, head = fit_weights(network, WeightsFile("", b"", "", published))
    assert (state.keys(), head) == (network.state_dict().keys(), None)


@pytest.mark.parametrize("classes", [10, 7])
def test_a_teacher_that_guesses_is_warned_of_unless_its_last_layer_is_new(
    classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "teacher", width=4, classes=classes)
    prepared_study = prepared(tmp_path, monkeypatch, TEACHER)
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    (file,) = load_or_train(prepared_study.spec.teacher, prepared_study.data, device=torch.device("cpu"))
    assert isinstance(file, TrainedTeacher)
    words = teacher_lines(file, prepared_study)
    if classes == 7:
        assert words == ["teacher: convnet-d2-w4, its last layer untrained"]
        return
    note, warning = words
    assert note == f"teacher: convnet-d2-w4, test {file.test_accuracy:.2f} %"
    assert warning.startswith(
        f"warning: the teacher reaches {file.validation_accuracy:.2f} % on validation and guessing"
    )
    good = replace(file, validation_accuracy=90.0)
    assert teacher_lines(good, prepared_study) == [note]
