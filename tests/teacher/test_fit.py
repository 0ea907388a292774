"""A teacher is trained once per data, spec and seed, and used by every later study."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lpstudy.cost import cost_of
from lpstudy.data import Data, DataSpec, load
from lpstudy.data.split import Split
from lpstudy.methods import Needs
from lpstudy.outputs import EpochResult
from lpstudy.space import TeacherSpec
from lpstudy.students import build
from lpstudy.teacher import TrainedTeacher, check_teacher, load_or_train, open_teacher, teacher_key
from lpstudy.teacher.fit import LONGEST_REASON
from lpstudy.training import Directive

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> Data:
    return load(DataSpec(kind="digits", labels_per_class=10))


@pytest.fixture(autouse=True)
def _own_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Data) -> None:
    """Each test begins without teachers."""
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))


def spec(**values: object) -> TeacherSpec:
    defaults = {"family": "convnet", "depth": 2, "width": 4, "epochs": 3, "batch_size": 50}
    return TeacherSpec.model_validate(defaults | values)


def load_teacher(teacher_spec: TeacherSpec, data: Data) -> tuple[list[EpochResult], TrainedTeacher]:
    """The epochs that were trained, and the teacher."""
    *epochs, file = load_or_train(teacher_spec, data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    assert all(isinstance(epoch, EpochResult) for epoch in epochs)
    return [epoch for epoch in epochs if isinstance(epoch, EpochResult)], file


def test_learns_from_the_training_part_alone(data: Data) -> None:
    """With the other parts' labels shifted by one, its predictions are wrong on them."""

    def shifted(split: Split) -> Split:
        return replace(split, labels=(split.labels + 1) % 10)

    lying = replace(data, validation=shifted(data.validation), test=shifted(data.test), fingerprint="lying")
    teacher_spec = spec(epochs=15, depth=3, width=8)
    _, honest = load_teacher(teacher_spec, data)
    _, file = load_teacher(teacher_spec, lying)
    assert honest.validation_accuracy > 60
    assert file.validation_accuracy < 20
    assert file.test_accuracy < 20
    assert file.training_macs == honest.training_macs
    weights = [load_file(f"{one.folder}/weights.safetensors") for one in (honest, file)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(("labels", "images"), [(None, 50), (10, 100), ("all", 850)])
def test_may_learn_from_other_labels_than_the_students(labels: object, images: int) -> None:
    few = load(DataSpec(kind="digits", labels_per_class=5, validation_fraction=0.25, unlabelled="rest"))
    _, file = load_teacher(spec(labels_per_class=labels), few)
    epochs, cost = 3, cost_of(spec().network, input_shape=few.input_shape, classes=few.classes)
    per_image = file.training_macs / (epochs * images)  # batches of 50: 850 of 899 images
    assert per_image == pytest.approx(3 * cost.macs, rel=0.01)
    assert file.key == teacher_key(spec(labels_per_class=labels), few)


def test_is_trained_once_and_then_reused(data: Data) -> None:
    epochs, first = load_teacher(spec(), data)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert load_teacher(spec(), data) == ([], first)
    assert first.validation_accuracy == epochs[-1].metrics["validation_accuracy"]
    assert first.training_macs == epochs[-1].metrics["training_macs"] > 0
    assert first.key == teacher_key(spec(), data) == Path(first.folder).name


def test_a_cache_that_has_the_teacher_is_only_read(data: Data) -> None:
    _, file = load_teacher(spec(), data)
    (Path(file.folder) / "lock").unlink(missing_ok=True)
    before = sorted(path.name for path in Path(file.folder).iterdir())
    load_teacher(spec(), data)
    assert sorted(path.name for path in Path(file.folder).iterdir()) == before


def test_what_is_recorded_is_what_the_weights_do(data: Data) -> None:
    _, file = load_teacher(spec(), data)
    opened = open_teacher(file, spec(), data, device=CPU)
    (batch,) = data.test.batches(batch_size=len(data.test), device=CPU)
    outputs = opened.outputs(batch, Needs(logits=True))
    share = 100 * (outputs.logits.argmax(1) == batch.labels).double().mean().item()
    assert file.test_accuracy == pytest.approx(share, abs=1e-9)
    cost = cost_of(spec().network, input_shape=data.input_shape, classes=data.classes)
    assert (
        (file.parameters, file.macs)
        == (cost.parameters, cost.macs)
        == (cost.parameters, opened.macs(Needs(logits=True), 1))
    )


def test_gives_no_gradient_and_keeps_its_statistics(data: Data) -> None:
    _, file = load_teacher(spec(), data)
    opened = open_teacher(file, spec(), data, device=CPU)
    before = {name: value.clone() for name, value in opened.network.state_dict().items()}
    (batch,) = data.test.batches(batch_size=len(data.test), device=CPU)
    outputs = opened.outputs(batch, Needs(logits=True, maps=(opened.network.middle,)))
    assert not outputs.logits.requires_grad
    assert outputs.maps.keys() == {opened.network.middle}
    assert not opened.network.training
    assert not any(parameter.requires_grad for parameter in opened.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in opened.network.state_dict().items())


@pytest.mark.parametrize("name", ["weights.safetensors", "teacher.json", "test_logits.safetensors"])
@pytest.mark.parametrize("harm", ["flipped", "truncated", "gone"])
def test_a_harmed_teacher_is_trained_again_to_the_same_weights(name: str, harm: str, data: Data) -> None:
    _, first = load_teacher(spec(epochs=1), data)
    path = Path(first.folder) / name
    content = path.read_bytes()
    match harm:
        case "flipped":
            path.write_bytes(b"?" + content[1:-1] + bytes([content[-1] ^ 1]))
        case "truncated":
            path.write_bytes(content[:-20])
        case _:
            path.unlink()
    epochs, again = load_teacher(spec(epochs=1), data)
    assert len(epochs) == 1
    assert again == first


def test_weights_that_changed_after_they_were_found_are_refused(data: Data) -> None:
    _, file = load_teacher(spec(epochs=1), data)
    path = Path(file.folder) / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="its sha-256 differs from the one recorded"):
        open_teacher(file, spec(epochs=1), data, device=CPU)


def test_a_killed_training_resumes(data: Data) -> None:
    teacher_spec = spec(checkpoint_seconds=0.0)
    running = load_or_train(teacher_spec, data, device=CPU)
    first = next(running)
    next(running)
    running.close()
    epochs, resumed = load_teacher(teacher_spec, data)
    assert epochs[0] == first  # its time too: it was not trained again
    folder = Path(resumed.folder)
    assert [path.name for path in folder.glob("checkpoint-*.json")] == ["checkpoint-000003.json"]
    weights = load_file(folder / "weights.safetensors")
    for path in folder.iterdir():
        path.unlink()
    _, whole = load_teacher(teacher_spec, data)
    for name, value in load_file(folder / "weights.safetensors").items():
        assert torch.equal(value, weights[name])
    assert (whole.sha256, whole.test_accuracy) == (resumed.sha256, resumed.test_accuracy)


def test_the_key_changes_with_all_that_changes_the_teacher(data: Data) -> None:
    others = [
        teacher_key(spec(), data),
        teacher_key(spec(seed=1), data),
        teacher_key(spec(width=5), data),
        teacher_key(spec(epochs=4), data),
        teacher_key(spec(learning_rate=0.01), data),
        teacher_key(spec(), load(DataSpec(kind="digits", labels_per_class=11))),
        teacher_key(spec(), load(DataSpec(kind="digits", labels_per_class=10, split_seed=1))),
        teacher_key(spec(), load(DataSpec(kind="digits", labels_per_class=10, pad=1))),
        teacher_key(spec(), load(DataSpec(kind="digits", labels_per_class=10, flip=True))),
    ]
    assert len(set(others)) == len(others)
    assert teacher_key(spec(checkpoint_seconds=1.0), data) == others[0]


def _weights(data: Data, path: Path, seed: int = 5) -> dict[str, torch.Tensor]:
    network = build(spec().network, input_shape=data.input_shape, classes=data.classes, seed=seed)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    save_file(state, path)
    return state


def test_ones_own_weights_are_used_and_not_trained(data: Data, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    state = _weights(data, path)
    teacher_spec = spec(weights=str(path))
    check_teacher(teacher_spec, data)
    epochs, file = load_teacher(teacher_spec, data)
    assert (epochs, file.training_macs) == ([], 0)
    opened = open_teacher(file, teacher_spec, data, device=CPU)
    assert all(torch.equal(value, state[name]) for name, value in opened.network.state_dict().items())
    _weights(data, path, seed=6)
    assert teacher_key(teacher_spec, data) != file.key


def _not_there(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.unlink()


def _no_safetensors(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.write_bytes(b"not tensors")


def _incomplete(path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(dict(list(state.items())[1:]), path)


def _of_another_shape(path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file({name: value.repeat(2) if value.dim() == 1 else value for name, value in state.items()}, path)


def _of_another_network(path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file({f"layer{n}.of.quite.another.network": torch.zeros(1) for n in range(200)}, path)


def _not_finite(path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file({k: v * float("nan") if v.is_floating_point() else v for k, v in state.items()}, path)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_not_there, "no such file"),
        (_no_safetensors, "not a safetensors file"),
        (_incomplete, "lacks layers.conv1.0.weight$"),
        (_of_another_shape, r"layers.conv1.1.weight has shape \[8\] where this network needs \[4\]$"),
        (_of_another_network, "none of this network's tensors, which are layers.conv1"),
        (_not_finite, "is not finite"),
    ],
)
def test_wrong_weights_are_refused_in_one_short_line_before_anything_is_started(
    harm: object, message: str, data: Data, tmp_path: Path
) -> None:
    path = tmp_path / "own.safetensors"
    assert callable(harm)
    harm(path, _weights(data, path))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        check_teacher(spec(weights=str(path)), data)
    line = str(error.value)
    assert line.startswith("[teacher] weights: ")
    assert str(path) in line
    assert line.isprintable()
    assert len(line) < len(str(path)) * 2 + LONGEST_REASON + 100


def test_a_network_too_large_for_the_images_is_refused(data: Data) -> None:
    with pytest.raises(ValueError, match=r"alexnet|images") as error:
        check_teacher(spec(depth=None, width=None, family="torchvision", design="alexnet"), data)
    assert str(error.value).isprintable()


def test_a_damaged_teacher_is_made_again_from_its_checkpoint_and_says_so(data: Data) -> None:
    before, file = load_teacher(spec(), data)
    path = Path(file.folder) / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    epochs, again = load_teacher(spec(), data)
    assert path.read_bytes() == content
    assert again.sha256 == file.sha256
    assert [replace(epoch, warnings=()) for epoch in epochs] == before  # reported again, not trained again
    (warning,) = epochs[0].warnings
    assert "its sha-256 differs from the one recorded" in warning
    assert not epochs[1].warnings
    assert load_teacher(spec(), data) == ([], again)


def test_a_teacher_that_is_asked_to_pause_writes_a_checkpoint_and_gives_no_file(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpstudy.training.partial_epoch.POLL_SECONDS", 1e9)
    teacher_spec = spec(checkpoint_seconds=1000.0)
    asks = iter([Directive.CONTINUE] * 4 + [Directive.PAUSE])  # before and after each epoch
    before = list(load_or_train(teacher_spec, data, device=CPU, poll=lambda: next(asks)))
    assert [result.epoch for result in before if isinstance(result, EpochResult)] == [1, 2]
    epochs, _ = load_teacher(teacher_spec, data)
    assert epochs[:2] == before  # their times too: they were not trained again
