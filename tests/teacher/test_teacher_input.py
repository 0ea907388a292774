"""A teacher with its own normalisation and size sees the student's crop in the form it was trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from lpstudy.cost import cost_of
from lpstudy.data import Data, DataSpec, load
from lpstudy.methods import Needs
from lpstudy.outputs import Network, Outputs
from lpstudy.space import StudySpec, TeacherSpec
from lpstudy.students import StudentSpec, build
from lpstudy.teacher import (
    TrainedTeacher,
    bank_store,
    check_teacher,
    input_of,
    load_or_train,
    open_teacher,
    plan_bank,
    teacher_key,
)
from lpstudy.teacher.teacher_input import AdaptedNetwork, TeacherInput
from lpstudy.training.evaluation import evaluate

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """Pictures of 16 pixels in two classes, dark and bright, padded and flipped."""
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for label, low in (("dark", 0), ("bright", 150)):
            (tmp_path / f"pictures/{part}/{label}").mkdir(parents=True)
            for number in range(10):
                pixels = generator.integers(low, low + 100, (16, 16, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / f"pictures/{part}/{label}/{number}.png")
    return load(DataSpec(kind="image_folder", pad=2, flip=True), root=tmp_path / "pictures")


def spec(tmp_path: Path, **values: object) -> TeacherSpec:
    """A network of random weights that lpstudy did not write."""
    path = tmp_path / "own.safetensors"
    network = StudentSpec(family="convnet", depth=2, width=4)
    if not path.exists():
        save_file(build(network, input_shape=(3, 16, 16), classes=2, seed=5).state_dict(), path)
    defaults = {"family": "convnet", "depth": 2, "width": 4, "weights": str(path), "precision": "fp32"}
    return TeacherSpec.model_validate(defaults | values)


def load_teacher(teacher_spec: TeacherSpec, data: Data) -> TrainedTeacher:
    check_teacher(teacher_spec, data)
    (file,) = load_or_train(teacher_spec, data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    return file


@pytest.mark.parametrize("size", [None, 32, 8])
def test_the_teacher_sees_its_own_normalisation_and_size_of_the_students_crop(
    size: int | None, data: Data, tmp_path: Path
) -> None:
    teacher_spec = spec(tmp_path, mean=MEAN, std=STD, image_size=size)
    file = load_teacher(teacher_spec, data)
    teacher = open_teacher(file, teacher_spec, data, device=CPU)
    (batch,) = data.train.one_view(7, torch.arange(6), batch_size=6, device=CPU)

    actual = teacher.outputs(batch, Needs(logits=True, embedding=True))

    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (data.mean, data.std))
    crop = batch.images.double() * std + mean  # in 0..1, as the student's crop is before it is normalised
    assert torch.allclose(crop * 255, (crop * 255).round(), atol=1e-4)
    network_input = (crop - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
    if size is not None:
        network_input = functional.interpolate(
            network_input, size=(size, size), mode="bilinear", antialias=True
        )
    shape = (3, size or 16, size or 16)
    network = build(
        teacher_spec.network.model_copy(update={"weights": teacher_spec.weights}),
        input_shape=shape,
        classes=2,
    )
    expected = network.eval()(network_input.float())
    torch.testing.assert_close(actual.logits, expected.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual.embedding, expected.embedding, rtol=1e-4, atol=1e-4)


FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


class _Camera(Network):
    """Hands on the images that it gets, as a map."""

    map_names, middle = ("images",), "images"

    def forward(self, images: torch.Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        flat = images.flatten(1)
        return Outputs(flat, flat, {name: images for name in maps})


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("side", [48, 11])
def test_images_are_resized_as_pillow_does(interpolation: str, side: int, data: Data) -> None:
    """Pillow rounds to whole values, twice; its rows of 8 bits are compared where nothing is cut off."""
    teacher_input = TeacherInput((0.0,) * 3, (1.0,) * 3, side, side, interpolation)
    network = AdaptedNetwork(_Camera(), teacher_input, data)
    pixels = np.random.default_rng(1).integers(90, 165, (16, 16, 3)).astype(np.uint8)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    batch = (torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 - mean) / std

    resized = network(batch, ("images",)).maps["images"][0].permute(1, 2, 0).numpy() * 255

    expected = np.asarray(Image.fromarray(pixels).resize((side, side), FILTERS[interpolation]))
    assert np.abs(resized - expected).max() < 1.1
    assert np.abs(resized - expected).mean() < 0.35


def test_a_teacher_s_own_files_keep_their_interpolation(data: Data, tmp_path: Path) -> None:
    first = load_teacher(spec(tmp_path, image_size=32, interpolation="bicubic"), data)

    again = input_of(spec(tmp_path, weights=f"{first.folder}/weights.safetensors"), data)

    assert again == first.input
    assert again is not None
    assert again.interpolation == "bicubic"


def test_timm_s_weights_see_what_timm_trained_them_on(data: Data, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    network = StudentSpec(family="timm", design="test_byobnet.r160_in1k")
    own = {"family": "timm", "design": network.design, "depth": None, "width": None}
    save_file(build(network, input_shape=(3, 160, 160), classes=2).state_dict(), tmp_path / "t.safetensors")
    own["weights"] = str(tmp_path / "t.safetensors")

    teacher_spec = spec(tmp_path, **own)

    seen = input_of(teacher_spec, data)
    assert seen == TeacherInput(MEAN, STD, 160, 160, "bicubic")
    _, lines = check_teacher(teacher_spec, data)
    assert lines == (
        "the teacher sees images as timm's test_byobnet.r160_in1k: 160x160 (bicubic), mean 0.485, 0.456,"
        " 0.406, std 0.229, 0.224, 0.225",
    )
    chosen = {"mean": STD, "std": STD, "image_size": 48, "interpolation": "nearest"}
    assert input_of(spec(tmp_path, **own, **chosen), data) == TeacherInput(STD, STD, 48, 48, "nearest")
    assert check_teacher(spec(tmp_path, **own, **chosen), data)[1] == ()


def test_a_teacher_of_pixels_in_0_to_255_keeps_its_accuracy(data: Data, tmp_path: Path) -> None:
    """It separates dark from bright by the mean of its input, which the data's statistics make small."""
    teacher_spec = spec(tmp_path, depth=1, width=1, weights=str(tmp_path / "w.safetensors"))
    state = build(teacher_spec.network, input_shape=data.input_shape, classes=2).state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = torch.ones_like(value) if name.endswith("running_var") else torch.zeros_like(value)
    state["layers.conv1.0.weight"][:, :, 1, 1] = 1 / 3  # the mean of the channels, in 0..255
    state["layers.conv1.1.weight"].fill_(1.0)
    state["classifier.weight"][:] = torch.tensor([[1.0], [-1.0]])  # "bright" comes first
    state["classifier.bias"][:] = torch.tensor([-125.0, 125.0])
    save_file(state, tmp_path / "w.safetensors")

    raw = TeacherSpec.model_validate(teacher_spec.model_dump() | {"mean": (0.0,) * 3, "std": (1 / 255,) * 3})

    assert load_teacher(raw, data).test_accuracy == 100
    assert load_teacher(teacher_spec, data).test_accuracy == 50


def test_shapes_and_costs_are_those_of_its_own_size(data: Data, tmp_path: Path) -> None:
    study = StudySpec.model_validate(
        {
            "name": "sized",
            "data": {"kind": "image_folder"},
            "teacher": spec(tmp_path, image_size=64).model_dump(),
            "students": [{"family": "convnet", "depth": 2, "width": 2}],
            "methods": {"fitnet": {"hint": "conv2"}},
        }
    )
    file = load_teacher(study.teacher, data)
    assert file.macs == cost_of(study.teacher.network, input_shape=(3, 64, 64), classes=2).macs
    shapes = {output.name: output.shape for output in plan_bank(study, data).banked_outputs}
    assert shapes == {"logits": (2,), "map.conv2": (8, 32, 32)}


def test_what_it_sees_enters_its_key_and_the_banks(data: Data, tmp_path: Path) -> None:
    study = StudySpec.model_validate(
        {
            "name": "keys",
            "data": {"kind": "image_folder"},
            "teacher": spec(tmp_path).model_dump(),
            "students": [{"family": "convnet", "depth": 2, "width": 2}],
            "methods": {"kd": {}},
        }
    )
    variants: list[dict[str, object]] = [
        {},
        {"mean": MEAN, "std": STD},
        {"mean": MEAN, "std": (0.2, 0.2, 0.2)},
        {"image_size": 32},
        {"mean": MEAN, "std": STD, "image_size": 32},
        {"image_size": 32, "interpolation": "bicubic"},
    ]
    keys, banks = set(), set()
    for values in variants:
        teacher_spec = spec(tmp_path, **values)
        file = load_teacher(teacher_spec, data)
        keys.add(file.key)
        banks.add(bank_store(plan_bank(study, data), file, teacher_spec, data, CPU).folder.name)
    assert len(keys) == len(banks) == len(variants)
    same = spec(tmp_path, mean=data.mean, std=data.std, image_size=16)
    assert teacher_key(same, data) == teacher_key(spec(tmp_path), data)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": [0.5], "std": [0.5]}, "mean has 1 values but the images have 3 channels"),
        ({"image_size": 1}, "at least 2x2 pixels but got 1x1"),
        ({"interpolation": "bicubic"}, "interpolation has no effect: .* have the data's 16x16 pixels"),
        ({"interpolation": "nearest", "image_size": 16}, "interpolation has no effect"),
    ],
)
def test_what_does_not_suit_the_images_is_refused(
    values: dict[str, object], message: str, data: Data, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        check_teacher(
            spec(tmp_path, **values),
            data,
        )
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"weights": None, "mean": [0.5] * 3, "std": [0.5] * 3},
            "mean: needs weights",
        ),
        ({"weights": None, "image_size": 32}, "image_size: needs weights"),
        ({"weights": None, "interpolation": "bicubic"}, "interpolation: needs weights"),
        ({"image_size": 32, "interpolation": "lanczos"}, "'bilinear', 'bicubic' or 'nearest'"),
        ({"mean": [0.5] * 3}, "mean and std: give both or neither"),
        ({"mean": [0.5] * 3, "std": [0.5]}, "must have the same length but have 3 and 1"),
        ({"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}, "divide by 255"),
        ({"mean": [0.5] * 3, "std": [0.5, 0.5, 0]}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        spec(tmp_path, **values)


def test_what_is_recorded_is_what_the_adapted_network_does(data: Data, tmp_path: Path) -> None:
    teacher_spec = spec(tmp_path, mean=MEAN, std=STD, image_size=24)
    file = load_teacher(teacher_spec, data)
    network = open_teacher(file, teacher_spec, data, device=CPU).network
    assert evaluate(network, data.validation)[0] == file.validation_accuracy
    assert evaluate(network, data.test)[0] == file.test_accuracy
