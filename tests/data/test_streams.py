import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from lpstudy.data import DataSpec, Order, load

CPU = torch.device("cpu")
SPEC = DataSpec(kind="image_folder", streaming=True, image_size=10, pad=2, flip=True)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads: one decodes images in this process, two in two other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_a_stream_gives_the_batches_of_the_array(tree, threads):
    streamed = load(SPEC, root=tree)
    array = load(SPEC.model_copy(update={"streaming": False}), root=tree)
    # All images are measured here, so that even the normalisation is the same.
    assert (streamed.mean, streamed.std) == (array.mean, array.std)
    for split, other in ((streamed.train, array.train), (streamed.validation, array.validation)):
        epochs = (part.epoch(Order(3, 2, 4), device=CPU) for part in (split, other))
        for one, two in zip(*epochs, strict=True):
            assert torch.equal(one.images, two.images)
            assert torch.equal(one.labels, two.labels)
            assert torch.equal(one.samples, two.samples)
            assert one.view == two.view


def test_a_bad_file_is_one_line_that_names_it_from_whichever_process(tree, threads):
    data = load(SPEC, root=tree)
    path = tree / "test" / "apple" / "001.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"'.*/test/apple/001.png'") as caught:
        list(data.test.batches(batch_size=4, device=CPU))
    assert "\n" not in str(caught.value)


def test_leaves_the_global_generator_alone_whichever_process_decodes(tree, threads):
    data, state = load(SPEC, root=tree), torch.get_rng_state()
    list(data.train.epoch(Order(3, 2, 4), device=CPU))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_epoch_can_end_early(tree, threads):
    data = load(SPEC, root=tree)
    for _ in range(3):
        batch = next(data.train.epoch(Order(3, 2, 4), device=CPU))
        assert len(batch.labels) == 4


def test_other_files_are_measured_again(tree):
    before = load(SPEC, root=tree)
    for path in (tree / "train" / "apple").iterdir():
        path.write_bytes((tree / "train" / "zebra" / "020.png").read_bytes())
    assert load(SPEC, root=tree).mean != before.mean


def test_a_cache_that_has_the_measurement_is_only_read(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    first = load(SPEC, root=tree)
    (tmp_path / "cache/measured.lock").unlink(missing_ok=True)
    assert load(SPEC, root=tree).mean == first.mean
    assert not (tmp_path / "cache/measured.lock").exists()


def test_a_damaged_measurement_is_made_again(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    before = load(SPEC, root=tree)
    (file,) = (tmp_path / "cache" / "measured").iterdir()
    for content in (b'{"mean": [0.1', b"\xff", b'{"mean": "red", "std": 1}'):
        file.write_bytes(content)
        assert load(SPEC, root=tree).mean == before.mean


def test_sizes_that_differ_are_found_before_training(tree):
    spec = DataSpec(kind="image_folder", streaming=True)
    assert load(spec, root=tree).input_shape == (3, 12, 12)
    smaller = tree / "train" / "zebra" / "029.png"
    Image.new("RGB", (12, 11)).save(smaller)
    with pytest.raises(ValueError, match="has 12x11 pixels, the first image 12x12: set image_size"):
        load(spec, root=tree)


def test_importing_the_data_layer_loads_torch_numpy_and_pydantic_alone():
    code = (
        "import sys, torch, numpy, pydantic.fields\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "import lpstudy.data\n"
        "after = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(after - before - {*sys.stdlib_module_names} - {'lpstudy'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
