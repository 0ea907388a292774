"""A pickle in place of any file of lpstudy is refused or replaced, and never loaded."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from malice import FORMS, pickled

from lpstudy.data import DataSpec, load
from lpstudy.space import RunSpec, StudySpec, TeacherSpec
from lpstudy.teacher import (
    Store,
    TrainedTeacher,
    bank_origin,
    check_teacher,
    compute_blocks,
    load_or_train,
    open_teacher,
    plan_bank,
)
from lpstudy.training import train

CPU = torch.device("cpu")
DATA = DataSpec(kind="digits", labels_per_class=10)
TEACHER = {"family": "convnet", "depth": 2, "width": 4, "epochs": 1, "batch_size": 50, "precision": "fp32"}
NESTED = b"[" * 200_000
"""JSON that is nested too deeply for a parser."""


def test_the_marker_appears_where_the_pickle_is_loaded(tmp_path: Path) -> None:
    for name, form in FORMS.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(form(tmp_path / name))
    pickle.loads((tmp_path / "pickle.pkl").read_bytes())
    torch.load(tmp_path / "torch.pkl", weights_only=False)
    import numpy as np

    np.load(tmp_path / "numpy.pkl", allow_pickle=True)
    assert all((tmp_path / name).exists() for name in FORMS)


@pytest.fixture(params=[*FORMS, "nested"])
def malicious(request: pytest.FixtureRequest, marker: Path) -> bytes:
    """Each form of a file's hostile content."""
    return NESTED if request.param == "nested" else FORMS[request.param](marker)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_decoded_images_are_decoded_again(cache: Path, malicious: bytes) -> None:
    load(DATA)
    before = content(cache)
    assert len(before) == 7
    for name in before:
        (cache / name).write_bytes(malicious)
        load(DATA)
        assert content(cache) == before


@pytest.mark.parametrize("name", ["train_images.npy", "test_labels.npy", "moments.npy", "class_names.json"])
def test_decoded_images_whose_hash_was_made_right_are_decoded_again(
    name: str, cache: Path, malicious: bytes
) -> None:
    expected = load(DATA).fingerprint
    (pointer,) = (cache / "sources").iterdir()
    before = json.loads(pointer.read_text())
    good = cache / "arrays" / before["content"]
    bad = cache / "arrays" / "bad"
    shutil.copytree(good, bad)
    (bad / name).write_bytes(malicious)
    total = hashlib.sha256()
    for one in ("class_names", "train_images", "train_labels", "test_images", "test_labels", "moments"):
        (path,) = bad.glob(f"{one}.*")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    bad.rename(bad.with_name(total.hexdigest()))
    pointer.write_text(json.dumps(before | {"content": total.hexdigest()}))
    assert load(DATA).fingerprint == expected
    assert json.loads(pointer.read_text()) == before


@pytest.mark.parametrize("text", ["../" * 21 + "x", "\0" * 64, "/" * 64, "A" * 64])
@pytest.mark.parametrize("whole", [False, True])
def test_a_pointer_leads_to_an_entry_and_nowhere_else(text: str, whole: bool, cache: Path) -> None:
    load(DATA)
    (pointer,) = (cache / "sources").iterdir()
    before = pointer.read_text()
    pointer.write_text(json.dumps({"content": text}) if whole else text)
    load(DATA)
    assert pointer.read_text() == before


@pytest.fixture
def trial() -> RunSpec:
    table = {
        "student": {"family": "convnet", "depth": 2, "width": 2},
        "method": {"method": "bp"},
        "training": {"batch_size": 50, "checkpoint_seconds": 0.0},
        "epochs": 3,
        "seed": 0,
    }
    return RunSpec.model_validate_json(json.dumps(table))


@pytest.mark.parametrize("digest", ["left", "made right"])
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_checkpoint_is_refused_and_the_one_before_is_used(
    suffix: str, digest: str, trial: RunSpec, malicious: bytes, tmp_path: Path
) -> None:
    data = load(DATA)
    whole = list(train(trial, data, None, device=CPU, folder=tmp_path / "run"))
    file = tmp_path / "run" / f"checkpoint-000003.{suffix}"
    file.write_bytes(malicious)
    if digest == "made right" and suffix == "safetensors":
        description = file.with_suffix(".json")
        body = json.loads(description.read_bytes())
        del body["sha256"]
        sha256 = hashlib.sha256(json.dumps(body, sort_keys=True).encode() + malicious).hexdigest()
        description.write_text(json.dumps(body | {"sha256": sha256}))
    again = list(train(trial, data, None, device=CPU, folder=tmp_path / "run"))
    (warning,) = again[-1].warnings
    assert warning.startswith("checkpoint-000003.json refused: ")
    assert warning.isprintable()
    assert again[-1].metrics["validation_accuracy"] == whole[-1].metrics["validation_accuracy"]


@pytest.mark.parametrize(
    "body", [b"[]", b"3", b"null", b'{"run": []}', b"NaN", b"", b"\xff", b'{"epoch": 1e999}']
)
def test_a_checkpoint_that_says_other_things_is_refused(body: bytes, trial: RunSpec, tmp_path: Path) -> None:
    data = load(DATA)
    list(train(trial, data, None, device=CPU, folder=tmp_path))
    for path in tmp_path.glob("checkpoint-*.json"):
        path.write_bytes(body)
    first, *_ = train(trial, data, None, device=CPU, folder=tmp_path)
    assert len(first.warnings) == 2


@pytest.mark.parametrize("digest", ["left", "made right"])
@pytest.mark.parametrize("name", ["weights.safetensors", "teacher.json"])
def test_a_cached_teacher_is_trained_again(name: str, digest: str, cache: Path, malicious: bytes) -> None:
    spec, data = TeacherSpec.model_validate(TEACHER), load(DATA)
    *_, file = load_or_train(spec, data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    before = content(Path(file.folder))
    (Path(file.folder) / name).write_bytes(malicious)
    if digest == "made right" and name == "weights.safetensors":
        description = json.loads(before["teacher.json"]) | {"sha256": hashlib.sha256(malicious).hexdigest()}
        (Path(file.folder) / "teacher.json").write_text(json.dumps(description))
    *_, again = load_or_train(spec, data, device=CPU)
    assert (again, content(Path(file.folder))) == (file, before)


def test_a_teacher_that_became_a_pickle_since_is_refused(cache: Path, malicious: bytes) -> None:
    spec, data = TeacherSpec.model_validate(TEACHER), load(DATA)
    *_, file = load_or_train(spec, data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    (Path(file.folder) / "weights.safetensors").write_bytes(malicious)
    with pytest.raises(ValueError, match=r"weights\.safetensors: its sha-256 differs"):
        open_teacher(file, spec, data, device=CPU)


def test_ones_own_weights_are_refused_in_one_line(malicious: bytes, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(malicious)
    with pytest.raises(
        ValueError, match=r"\[teacher\] weights: .*own\.safetensors is not a safetensors file"
    ) as error:
        check_teacher(TeacherSpec.model_validate(TEACHER | {"weights": str(path)}), load(DATA))
    assert "\n" not in str(error.value)


def test_a_banks_files_are_computed_again(cache: Path, malicious: bytes) -> None:
    study = {
        "name": "banked",
        "data": {"kind": "digits", "labels_per_class": 10},
        "teacher": TEACHER,
        "students": [{"family": "convnet", "depth": 2, "width": 2}],
        "methods": {"kd": {}},
        "training": {"batch_size": 50},
    }
    spec = StudySpec.model_validate(study)
    data = load(spec.data)
    *_, file = load_or_train(spec.teacher, data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    plan = plan_bank(spec, data)
    store = Store(plan, file, data, bf16=False)
    teacher = open_teacher(file, spec.teacher, data, device=CPU)

    def filled() -> None:
        missing, _ = store.missing()
        store.prepare()
        store.describe(bank_origin(plan, file, data))
        for one in compute_blocks(store, data, teacher, missing):
            store.enter(one.block, one.digests)

    filled()
    before = content(store.folder)
    assert len(before) == 3
    for name in before:
        (store.folder / name).write_bytes(malicious)
        filled()
        after = content(store.folder)
        assert {**after, name: after[name][: len(before[name])]} == before
        assert store.open_outputs()["logits"].shape[-1] == 10
        shutil.rmtree(store.folder)
        filled()


def test_measured_statistics_are_measured_again(cache: Path, malicious: bytes, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "tree" / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "tree" / part / name / f"{number}.png")
    spec = DataSpec(kind="image_folder", root=tmp_path / "tree", streaming=True)
    before = load(spec).fingerprint
    (path,) = (cache / "measured").iterdir()
    path.write_bytes(malicious)
    assert load(spec).fingerprint == before


def test_a_pickle_in_place_of_an_image_is_no_image(marker: Path, tmp_path: Path) -> None:
    from lpstudy.data.images import decode_pixels

    path = tmp_path / "a.png"
    path.write_bytes(pickled(marker))
    with pytest.raises(ValueError, match=r"a\.png' is not an image"):
        decode_pixels(bytes(path), None)
