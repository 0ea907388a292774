"""`lpstudy.load` gives a classifier that sees images as the study saw its own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import ROOT
from deployments import (
    CLASSES,
    ORIGIN,
    SHAPE,
    Deployed,
    network,
    of_data,
    random_data,
    write_folder,
    write_images,
)
from imports import no_imported_code
from PIL import Image
from safetensors.torch import load_file, save_file

import lpstudy
from lpstudy.data import DataSpec, Order, load
from lpstudy.data.digits import read_digits
from lpstudy.deployment.classifier import Classifier
from lpstudy.deployment.config import Deployment
from lpstudy.model_file import TrainedModel, describe
from lpstudy.space import import_files
from lpstudy.students import StudentSpec, build
from lpstudy.training.evaluation import evaluate
from lpstudy.training.predictions import Predictions


def classifier(**facts: object) -> Classifier:
    model = network(StudentSpec(family="convnet", depth=3, width=4), **facts)
    deployment = Deployment(model=model.description, origin=ORIGIN, test_accuracy=50.0, test_images=2)
    return Classifier(model, deployment)


def write_digits(root: Path) -> None:
    """A folder of image files in colour, of several sizes."""
    arrays = read_digits()
    for part, images, labels in (
        ("train", arrays.train_images[:300], arrays.train_labels[:300]),
        ("test", arrays.test_images[:150], arrays.test_labels[:150]),
    ):
        for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            path = root / part / f"class {label}" / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels[0]).convert("RGB")
            image.resize((18 + number % 5, 20 - number % 3), Image.Resampling.BICUBIC).save(path)


@pytest.mark.parametrize("resize", [None, 9])
def test_the_study_s_test_accuracy_is_that_of_the_raw_files(resize: int | None, tmp_path: Path) -> None:
    write_digits(tmp_path / "data")
    spec = DataSpec(kind="image_folder", root=tmp_path / "data", image_size=8, resize=resize)
    data = load(spec)
    torch.manual_seed(0)
    student = StudentSpec(family="convnet", depth=2, width=8)
    built = build(student, input_shape=data.input_shape, classes=data.classes)
    optimizer = torch.optim.Adam(built.parameters(), 1e-2)
    for epoch in range(1, 5):
        for batch in data.train.epoch(Order(0, epoch, 32), device=torch.device("cpu")):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(built(batch.images).logits, batch.labels).backward()
            optimizer.step()
    record = Predictions.of(len(data.test), classes=data.classes, device=torch.device("cpu"))
    recorded, _ = evaluate(built, data.test, predictions=record)
    write_folder(tmp_path, TrainedModel(built, describe(student, data, test_accuracy=recorded)))
    loaded = lpstudy.load(tmp_path)
    paths = sorted((tmp_path / "data/test").glob("*/*.png"))
    labels = [one.label for one in loaded.predict(paths)]
    hits = [label == path.parent.name for label, path in zip(labels, paths, strict=True)]
    assert hits == record.correct.bool().tolist()
    assert 100 * np.mean(hits) == pytest.approx(loaded.deployment.model.test_accuracy, abs=1e-9)
    assert 20 < recorded < 100


@pytest.mark.parametrize(
    ("resizing", "resize"), [("centre_square", None), ("centre_square", 20), ("none", None)]
)
def test_files_images_and_arrays_are_one_input(resizing: str, resize: int | None, tmp_path: Path) -> None:
    model = classifier(resizing=resizing, **({"resize": resize} if resize else {}))
    sizes = (16, 16) if resizing == "none" else (20, 60)
    paths = write_images(tmp_path, 5, "RGB", sizes)
    images = [Image.open(path) for path in paths]
    expected = model.logits(paths)
    assert torch.equal(model.logits(images), expected)
    assert torch.equal(model.logits([np.asarray(image) for image in images]), expected)
    mixed = [str(paths[0]), images[1], np.asarray(images[2]), paths[3], images[4]]
    assert torch.equal(model.logits(mixed), expected)
    torch.testing.assert_close(model.logits(str(paths[0])), expected[:1], rtol=0, atol=1e-5)
    reference = torch.stack([model.model.preprocess(path) for path in paths])
    torch.testing.assert_close(model.logits(reference), expected, rtol=0, atol=1e-5)


def test_an_image_that_lies_is_turned_and_transparency_is_white(tmp_path: Path) -> None:
    model, path = classifier(resizing="centre_square"), tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    Image.fromarray(noise).save(path, exif=exif)
    assert torch.equal(model.logits(Image.open(path)), model.logits(path))
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    white = Image.new("RGB", (16, 16), (255, 255, 255))
    assert torch.equal(model.logits(clear), model.logits(white))


def test_many_arrays_or_tensors_are_one_batch() -> None:
    model, generator = classifier(), np.random.default_rng(0)
    arrays = generator.integers(0, 256, (501, 16, 16, 3), np.uint8)
    tensors = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    assert model.logits(arrays).shape == (501, 4)
    torch.testing.assert_close(model.logits(tensors), model.logits(arrays), rtol=0, atol=1e-6)
    torch.testing.assert_close(model.logits(tensors / 255), model.logits(arrays), rtol=0, atol=1e-5)
    assert model.predict([]) == []


def test_grey_networks_take_grey_and_coloured_images(tmp_path: Path) -> None:
    model = network(StudentSpec(family="convnet", depth=2, width=4), (1, 16, 16), resizing="centre_square")
    deployment = Deployment(model=model.description, origin=ORIGIN, test_accuracy=50.0, test_images=2)
    grey = Classifier(model, deployment)
    for path in write_images(tmp_path, 3, "L") + write_images(tmp_path, 2, "RGB"):
        array = np.asarray(Image.open(path))
        assert torch.equal(grey.logits(array), grey.logits(path))
    flat = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    assert torch.equal(grey.logits(flat), grey.logits(flat[..., None]))


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    model = classifier()
    images = torch.rand(3, *SHAPE)
    logits = model.logits(images).double().numpy()
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for prediction, row in zip(model.predict(images), softmax, strict=True):
        assert list(prediction.probabilities) == list(CLASSES)
        np.testing.assert_allclose(list(prediction.probabilities.values()), row, rtol=1e-12)
        assert prediction.label == CLASSES[row.argmax()]
        assert prediction.probability == max(prediction.probabilities.values())


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((16, 16, 3)), "an array must be of uint8 but is of float64"),
        (np.zeros((16, 16, 2), np.uint8), r"must have shape \(height, width, 3\) but has \(16, 16, 2\)"),
        (np.zeros((9, 16, 3), np.uint8), "the image has 16x9 pixels, not 16x16"),
        (torch.zeros(3, 8, 8), r"a tensor must have shape \(3, 16, 16\) but has \(3, 8, 8\)"),
        (torch.full(SHAPE, 2.0), "floating-point images must lie in 0..1"),
        (7, "but one is of type int"),
        ("none.png", "none.png"),
    ],
)
def test_what_is_no_image_for_it_is_refused_in_one_line(image: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        classifier().predict(image)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    if not isinstance(image, torch.Tensor) or image.shape != SHAPE:
        with pytest.raises(ValueError, match=f"^image 1 of the list: .*{words}"):
            classifier().predict([np.zeros((16, 16, 3), np.uint8), image])  # type: ignore[list-item]


@pytest.mark.parametrize("design", ["test_resnet", "test_vit"])
def test_timm_loads_its_own_networks_from_the_folder(design: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    data = random_data((3, 96, 96), 8)
    model = of_data(StudentSpec(family="timm", design=design), data)
    write_folder(tmp_path, model)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.rand(2, 3, 96, 96)
    config = loaded.pretrained_cfg
    mean, std = (torch.tensor(config[name]).view(-1, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(loaded((images - mean) / std), model(images), rtol=1e-4, atol=1e-5)
    assert (config["num_classes"], tuple(config["label_names"])) == (4, CLASSES)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=loaded))
    assert transform(Image.new("RGB", (120, 100))).shape == (3, 96, 96)
    assert torch.equal(lpstudy.load(tmp_path).logits(images), model(images))


def test_a_changed_configuration_or_weights_are_refused(deployed: Deployed, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no deployed network, for it has no config\.json"):
        lpstudy.load(tmp_path)
    shutil.copytree(deployed.folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["lpstudy"]["model"]["mean"] = [0.1]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"config\.json describes another network than model\.safetensors"):
        lpstudy.load(tmp_path)
    path.write_text(json.dumps(content | {"auto_map": {"AutoModel": "evil.py"}}))
    with pytest.raises(ValueError, match=r"config\.json: auto_map"):
        lpstudy.load(tmp_path)
    shutil.copy(deployed.folder / "config.json", path)
    weights = tmp_path / "model.safetensors"
    tensors = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    save_file({name: tensor[:1] for name, tensor in tensors.items() if tensor.dim()}, weights)
    with pytest.raises(ValueError, match="no description of the network"):
        lpstudy.load(tmp_path)


def test_a_network_of_one_s_own_needs_its_file(tmp_path: Path) -> None:
    own = ROOT / "examples/my_own.py"
    with no_imported_code():
        import_files([own])
        model = network(StudentSpec(family="module", design="my_own:Small", width=2))
        write_folder(tmp_path, model)
        images = torch.rand(2, *SHAPE)
        expected = model(images)
    with no_imported_code():
        with pytest.raises(ValueError, match="my_own"):
            lpstudy.load(tmp_path)
        assert torch.equal(lpstudy.load(tmp_path, imports=[own]).logits(images), expected)
