"""Loading of a trained network: its test accuracy is the one that the study reports."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

import lpstudy
from lpstudy.data import Data, DataSpec, load
from lpstudy.methods.bp import BP
from lpstudy.methods.kd import KD
from lpstudy.model_file import ModelDescription, TrainedModel, read_description
from lpstudy.space import RunSpec, TeacherSpec, Training
from lpstudy.students import StudentSpec
from lpstudy.teacher import TrainedTeacher, load_or_train, open_teacher
from lpstudy.training import train

CPU = torch.device("cpu")
STUDENT = StudentSpec(family="convnet", depth=2, width=4)


@pytest.fixture(scope="module")
def data() -> Data:
    return load(DataSpec(kind="digits", labels_per_class=10))


def trained(data: Data, folder: Path, student: StudentSpec = STUDENT, *, final: bool = True) -> float | None:
    """Train in a folder; returns the reported test accuracy."""
    training = Training(batch_size=50, precision="fp32", learning_rate=0.05)
    run = RunSpec(student=student, method=BP(), training=training, epochs=20, seed=1)
    *_, last = train(run, data, None, device=CPU, folder=folder, read_test=final)
    return last.metrics.get("test_accuracy")


@pytest.fixture
def folder(data: Data, tmp_path: Path) -> Path:
    trained(data, tmp_path / "run")
    return tmp_path / "run"


def raw_images(data: Data) -> tuple[Tensor, Tensor]:
    """The undecoded test images (uint8) and their labels."""
    split = data.test
    (images,) = split.pixels.read([torch.arange(len(split))])
    return images, split.labels


def test_the_loaded_network_has_the_reported_test_accuracy_on_images_in_0_to_1(
    data: Data, tmp_path: Path
) -> None:
    reported = trained(data, tmp_path)
    assert reported is not None
    assert reported > 40
    model = lpstudy.load_model(tmp_path)
    images, labels = raw_images(data)
    for given in (images, images.float() / 255, images.double() / 255):
        right = (model(given.float() if given.dtype == torch.float64 else given).argmax(1) == labels).sum()
        assert 100 * (right.item() / len(labels)) == reported
    assert model.description.test_accuracy == reported
    normalised = (images.float() / 255 - torch.tensor(data.mean).view(-1, 1, 1)) / torch.tensor(
        data.std
    ).view(-1, 1, 1)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        model(normalised)


def test_logits_are_those_of_training_to_the_last_digit(data: Data, folder: Path) -> None:
    model = lpstudy.load_model(folder / "weights.safetensors")
    (batch,) = data.test.batches(batch_size=len(data.test), device=CPU)
    images, _ = raw_images(data)
    assert torch.equal(model(images.float() / 255), model.network(batch.images).logits)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_weights_and_file_say_the_same_all_that_is_needed(data: Data, folder: Path) -> None:
    beside = ModelDescription.model_validate_json((folder / "model.json").read_bytes())
    assert read_description(folder) == beside
    assert (beside.architecture, beside.method) == (STUDENT, "bp")
    assert (beside.input_shape, beside.class_names) == (data.input_shape, data.class_names)
    assert (beside.mean, beside.std, beside.resizing) == (data.mean, data.std, "none")
    assert (beside.lpstudy, beside.precision) == (lpstudy.__version__, "fp32")


def test_a_trial_of_the_search_has_no_test_accuracy(data: Data, tmp_path: Path) -> None:
    assert trained(data, tmp_path, final=False) is None
    assert lpstudy.load_model(tmp_path).description.test_accuracy is None


def test_either_description_is_enough(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "weights.safetensors")
    (tmp_path / "alone").mkdir()
    save_file(state, tmp_path / "alone/model.safetensors")
    with pytest.raises(
        ValueError, match=r"no description of the network, neither as metadata nor as model\.json"
    ):
        lpstudy.load_model(tmp_path / "alone")
    (tmp_path / "alone/model.json").write_bytes((folder / "model.json").read_bytes())
    (folder / "model.json").unlink()
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lpstudy.load_model(folder)(images), lpstudy.load_model(tmp_path / "alone")(images))


def test_a_file_that_says_something_else_than_the_weights_is_refused(folder: Path) -> None:
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | {"mean": [0.5]}))
    with pytest.raises(ValueError, match=r"model\.json differs from the metadata of the weights"):
        lpstudy.load_model(folder)


HOSTILE: dict[str, Callable[[dict[str, object]], object]] = {
    "no JSON": lambda description: "{",
    "no table": lambda description: [description],
    "nested": lambda description: "[" * 100_000,
    "an unknown key": lambda description: description | {"import": "os"},
    "a missing key": lambda description: {key: value for key, value in description.items() if key != "mean"},
    "a text for a number": lambda description: description | {"mean": ["0.5"]},
    "not finite": lambda description: json.dumps(description | {"mean": [float("nan")]}),
    "a deviation of 0": lambda description: description | {"std": [0.0]},
    "statistics of another number of channels": lambda description: description | {"mean": [0.5] * 3},
    "images without end": lambda description: description | {"input_shape": [1, 10**9, 10**9]},
    "no images": lambda description: description | {"input_shape": [1, -8, 8]},
    "a network that fills the memory": lambda description: (
        description | {"architecture": {"family": "convnet", "depth": 900, "width": 60_000}}
    ),
    "another network": lambda description: (
        description | {"architecture": {"family": "wrn", "depth": 10, "width": 1}}
    ),
    "a network with a file": lambda description: (
        description
        | {"architecture": {"family": "convnet", "depth": 2, "width": 4, "weights": "/etc/passwd"}}
    ),
    "an unknown network": lambda description: description | {"architecture": {"family": "\x1b[2J"}},
    "other classes": lambda description: description | {"class_names": ["a", "b"]},
    "no classes": lambda description: description | {"class_names": []},
    "another format": lambda description: description | {"format": 2},
    "too long": lambda description: description | {"class_names": ["x" * 5_000_000]},
}


@pytest.mark.parametrize("where", ["model.json", "metadata"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_description_is_refused_in_one_short_line(case: str, where: str, folder: Path) -> None:
    content = HOSTILE[case](json.loads((folder / "model.json").read_text()))
    text = content if isinstance(content, str) else json.dumps(content)
    state = load_file(folder / "weights.safetensors")
    (folder / "model.json").unlink()
    save_file(state, folder / "weights.safetensors", {"lpstudy": text} if where == "metadata" else None)
    if where == "model.json":
        (folder / "model.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"weights\.safetensors|model\.json|metadata|images|classes"
    ) as caught:
        lpstudy.load_model(folder)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 800


@pytest.mark.parametrize("page", ["docs/weights.md"])
def test_the_lines_of_the_docs_load_a_final(
    page: str, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).resolve().parents[1] / page).read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) == 2
    (place,) = re.findall(r'load_model\("(studies/[^"]+)"\)', lines)
    trained(data, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    exec(lines, namespace)
    assert isinstance(namespace["model"], TrainedModel)


def test_what_is_no_weights_file_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at"):
        lpstudy.load_model(tmp_path / "nowhere")
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth: no description of the network"):
        lpstudy.load_model(tmp_path / "w.pth")
    (folder / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        lpstudy.load_model(folder)


def test_images_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(m, 1, 8, 8\) but have \(2, 1, 9, 8\)"):
        lpstudy.load_model(folder)(torch.zeros(2, 1, 9, 8))


@pytest.fixture(params=[{}, {"resize": 20, "crop": "resized"}], ids=["squares", "recipe"])
def pictures(tmp_path: Path, request: pytest.FixtureRequest) -> Data:
    """Images of several sizes in two classes, cropped to 16 pixels."""
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / f"pictures/{part}/{name}").mkdir(parents=True)
            for number in range(10):
                size = (*generator.integers(14, 40, 2), 3)
                shade = 40 if name == "cat" else 0
                pixels = generator.integers(0, 200, size).astype(np.uint8) + np.uint8(shade)
                Image.fromarray(pixels).save(tmp_path / f"pictures/{part}/{name}/{number}.png")
    spec = {"kind": "image_folder", "image_size": 16} | request.param
    return load(DataSpec.model_validate(spec), root=tmp_path / "pictures")


def test_files_are_read_as_the_study_read_them(pictures: Data, tmp_path: Path) -> None:
    reported = trained(pictures, tmp_path / "run")
    model = lpstudy.load_model(tmp_path / "run")
    assert model.class_names == ("cat", "dog")
    paths = sorted((tmp_path / "pictures/test").glob("*/*.png"))
    images = torch.stack([model.preprocess(path) for path in paths])
    names = [model.class_names[index] for index in model(images).argmax(1).tolist()]
    right = sum(name == path.parent.name for name, path in zip(names, paths, strict=True))
    assert 100 * (right / len(paths)) == reported


def test_a_file_of_another_size_is_refused_where_the_study_resized_none(folder: Path, tmp_path: Path) -> None:
    model = lpstudy.load_model(folder)
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert torch.equal(model.preprocess(tmp_path / "grey.png"), torch.from_numpy(grey)[None] / 255)
    Image.new("L", (9, 8)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match=r"wide\.png has 9x8 pixels, not 8x8"):
        model.preprocess(tmp_path / "wide.png")


def test_a_teacher_is_loaded_the_same_way(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path))
    spec = TeacherSpec(family="convnet", depth=2, width=4, epochs=2, batch_size=50, precision="fp32")
    *_, file = load_or_train(spec, data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    model = lpstudy.load_model(file.folder)
    images, labels = raw_images(data)
    accuracy = 100 * ((model(images).argmax(1) == labels).sum().item() / len(labels))
    assert accuracy == file.test_accuracy == model.description.test_accuracy


def test_a_teacher_from_an_earlier_study_needs_no_key_for_its_images(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It normalises other data with the statistics of its training data."""
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    trained(data, tmp_path / "run")
    written = load(DataSpec(kind="digits", labels_per_class=10, split_seed=3))
    assert written.mean != data.mean
    spec = TeacherSpec(family="convnet", depth=2, width=4, weights=str(tmp_path / "run"), precision="fp32")
    *_, file = load_or_train(spec, written, device=CPU)
    assert isinstance(file, TrainedTeacher)
    assert file.input is not None
    assert (file.input.mean, file.input.std) == (data.mean, data.std)
    images, labels = raw_images(written)
    model = lpstudy.load_model(tmp_path / "run")
    accuracy = 100 * ((model(images).argmax(1) == labels).sum().item() / len(labels))
    assert file.test_accuracy == pytest.approx(accuracy, abs=1e-9)
    same = TeacherSpec.model_validate(
        spec.model_dump() | {"weights": str(tmp_path / "run/weights.safetensors")}
    )
    *_, teacher_of_other_data = load_or_train(same, data, device=CPU)
    assert isinstance(teacher_of_other_data, TrainedTeacher)
    assert teacher_of_other_data.input is None  # the data's own, so that nothing is computed twice


def test_the_description_of_a_method_names_it(data: Data, tmp_path: Path) -> None:
    teacher = TeacherSpec(family="convnet", depth=2, width=4, epochs=1, batch_size=50, precision="fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
        *_, file = load_or_train(teacher, data, device=CPU)
        assert isinstance(file, TrainedTeacher)
        targets = open_teacher(file, teacher, data, device=CPU)
    run = RunSpec(student=STUDENT, method=KD(), training=Training(batch_size=50), epochs=1, seed=0)
    list(train(run, data, targets, device=CPU, folder=tmp_path / "run"))
    assert lpstudy.load_model(tmp_path / "run").description.method == "kd"


def test_no_statistics_beyond_the_pixels_are_described(data: Data) -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        ModelDescription(
            architecture=STUDENT,
            input_shape=(1, 8, 8),
            mean=(33.3,),
            std=(0.3,),
            class_names=("a",),
            resizing="none",
        )
    assert replace(data).resizing == "none"
