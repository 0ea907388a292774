"""The content of the bank's files, also after a kill and for a second study."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_banks import SmallBank, content

from lpstudy.data import Data, DataSpec, load
from lpstudy.data.augment import placement
from lpstudy.data.pixels import ArrayPixels
from lpstudy.methods import Needs
from lpstudy.teacher import Block, Store, bank_store, open_teacher_outputs
from lpstudy.teacher.bank_plan import BankedOutput

MakeBank = Callable[..., SmallBank]

CPU = torch.device("cpu")
HINT: dict[str, dict[str, object]] = {"kd": {}, "fitnet": {}}
ALL = Needs(logits=True, embedding=True, maps=("conv1",))


def by_hand(data: Data, view: int) -> NDArray[np.float32]:
    """A view of all training images: padded, cut and mirrored one by one."""
    pixels = data.train.pixels
    assert isinstance(pixels, ArrayPixels)
    images = pixels.images[pixels.rows].numpy()
    rows, columns, mirrored = placement(
        torch.arange(len(images)), view, pad=1, flip=True, seed=data.train.preprocessing.seed
    )
    crops = []
    for image, row, column, mirror in zip(images, rows, columns, mirrored, strict=True):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))[:, row : row + 8, column : column + 8]
        crops.append(padded[:, :, ::-1] if mirror else padded)
    mean, std = (np.array(value).reshape(-1, 1, 1) for value in (data.mean, data.std))
    normalised: NDArray[np.float64] = (np.stack(crops) / 255 - mean) / std
    return normalised.astype(np.float32)


@pytest.mark.parametrize(("dtype", "rtol"), [("fp16", 2**-11), ("fp32", 1e-5)])
def test_each_row_is_the_teachers_output_of_that_sample_in_that_view(
    dtype: str, rtol: float, make_bank: MakeBank
) -> None:
    bank = make_bank(HINT | {"lp": {}}, views=18, bank_dtype=dtype)
    bank.fill()
    stored_outputs = bank.store.open_outputs()
    assert {name: tuple(value.shape) for name, value in stored_outputs.items()} == {
        "logits": (18, 100, 10),
        "embedding": (18, 100, 8),
        "map.conv1": (18, 100, 4, 8, 8),
    }
    for view in (0, 1, 7, 17):
        with torch.no_grad():
            outputs = bank.teacher.network(torch.from_numpy(by_hand(bank.data, view)), ALL.maps)
        for name, expected in {
            "logits": outputs.logits,
            "embedding": outputs.embedding,
            "map.conv1": outputs.maps["conv1"],
        }.items():
            torch.testing.assert_close(
                stored_outputs[name][view].float(), expected, rtol=1.01 * rtol, atol=2e-6
            )
            assert not torch.allclose(stored_outputs[name][view - 1].float(), expected, rtol=1e-2)


def test_fp32_keeps_every_bit(make_bank: MakeBank) -> None:
    bank = make_bank(HINT, views=2, bank_dtype="fp32")
    bank.fill()
    stored_outputs = bank.store.open_outputs()
    for view in range(2):
        for first, last in ((0, 40), (40, 80), (80, 100)):
            rows = torch.arange(first, last)
            (batch,) = bank.data.train.one_view(view, rows, batch_size=40, device=CPU)
            outputs = bank.teacher.outputs(batch, ALL)
            assert torch.equal(stored_outputs["logits"][view, first:last], outputs.logits)
            assert torch.equal(stored_outputs["map.conv1"][view, first:last], outputs.maps["conv1"])


def test_the_manifest_says_what_the_files_hold(make_bank: MakeBank) -> None:
    make_bank({"kd": {}}, views=2).fill()
    bank = make_bank({"lp": {}}, views=3)
    bank.fill()
    manifest = json.loads((bank.store.folder / "bank.json").read_bytes())
    assert manifest["shapes"] == {"logits": [100, 10], "embedding": [100, 8]}
    assert (manifest["dtype"], manifest["augmentations"]) == ("fp16", 18)
    assert manifest["teacher"]["sha256"] == bank.file.sha256
    assert manifest["data"] == {
        "name": "digits",
        "fingerprint": bank.data.fingerprint,
        "pad": 1,
        "flip": True,
    }
    assert "folder" not in manifest["teacher"]


def test_more_views_are_added_to_those_that_are_there(make_bank: MakeBank) -> None:
    few = make_bank(views=2)
    few.fill()
    before = content(few.store)
    more = make_bank(views=4)
    assert more.store.folder == few.store.folder
    missing, _ = more.store.missing()
    assert [(block.view, block.first, block.last) for block in missing] == [
        (view, first, last) for view in (2, 3) for first, last in ((0, 40), (40, 80), (80, 100))
    ]
    more.fill()
    after = content(more.store)
    for name in ("logits.fp16", "embedding.fp16"):
        assert after[name].startswith(before[name])
        assert len(after[name]) == 2 * len(before[name])
    assert after["00001.json"] == before["00001.json"]
    assert few.store.missing() == ([], [])
    assert len(few.store.open_outputs()["logits"]) == 2


def test_another_output_is_added_and_what_is_there_is_not_written_again(make_bank: MakeBank) -> None:
    one = make_bank({"kd": {}}, views=2)
    one.fill()
    both = make_bank({"kd": {}, "lp": {}}, views=2)
    assert both.store.folder == one.store.folder
    logits = one.store.folder / "logits.fp16"
    before = logits.stat().st_mtime_ns
    both.fill()
    assert logits.stat().st_mtime_ns == before
    assert both.store.missing() == one.store.missing() == ([], [])
    assert both.store.open_outputs().keys() == {"logits", "embedding"}


def test_a_bank_that_is_there_is_not_filled_again(make_bank: MakeBank) -> None:
    bank = make_bank(views=2)
    bank.fill()
    again = make_bank(views=2)
    assert again.store.missing() == ([], [])


def test_a_bank_is_the_same_to_the_last_byte_however_many_images_are_run_at_once(make_bank: MakeBank) -> None:
    bank = make_bank(views=1, bank_dtype="fp32")
    bank.fill(chunk_size=500)
    whole = content(bank.store)
    for chunk_size in (13, 3):
        for path in bank.store.folder.rglob("*.fp32"):
            path.write_bytes(b"")
        bank.fill(chunk_size=chunk_size)
        assert content(bank.store) == whole


def test_a_block_that_was_written_but_not_entered_is_never_read_and_filled_again(make_bank: MakeBank) -> None:
    bank, whole = make_bank(views=2), make_bank(views=2, seed=8)
    bank.fill(4)
    nothing = {name: np.zeros((40, *shape), np.float16) for name, shape in shapes(bank).items()}
    bank.store.write(Block(1, 40, 80), [nothing])  # and then killed
    with pytest.raises(ValueError, match=r"logits\.fp16: view 1 is incomplete|embedding.*view 1 is"):
        bank.store.open_outputs()
    assert bank.store.missing() == ([Block(1, 40, 80), Block(1, 80, 100)], [])
    assert bank.fill() == []
    rows = bank.store.open_outputs()["logits"][1, 40:80]
    assert (rows != 0).any(dim=1).all()
    whole.fill()
    assert not torch.equal(whole.store.open_outputs()["logits"][1, 40:80], rows)  # of another teacher


def shapes(bank: SmallBank) -> dict[str, tuple[int, ...]]:
    return {output.name: output.shape for output in bank.plan.banked_outputs}


def test_outputs_beyond_fp16_are_refused_and_fit_in_fp32(make_bank: MakeBank) -> None:
    bank = make_bank({"kd": {}}, logits=1e7)
    with pytest.raises(
        ValueError, match=r"outputs reach \d.*beyond fp16: set \[teacher\] bank_dtype = \"fp32\""
    ):
        bank.fill()
    assert len(bank.store.missing()[0]) == 9
    wide = make_bank({"kd": {}}, logits=1e7, bank_dtype="fp32")
    wide.fill()
    assert wide.store.open_outputs()["logits"].abs().max() > 65504


def test_outputs_that_are_not_finite_are_refused_without_an_advice_that_would_not_help(
    make_bank: MakeBank,
) -> None:
    bank = make_bank({"kd": {}}, logits=9e38, bank_dtype="fp32")
    with pytest.raises(ValueError, match="not finite") as error:
        bank.fill()
    assert "bank_dtype" not in str(error.value)


@pytest.mark.parametrize("change", ["teacher", "data", "pad", "dtype", "precision"])
def test_nothing_of_another_bank_is_used(change: str, make_bank: MakeBank, data: Data) -> None:
    bank = make_bank(views=1)
    bank.fill()
    other = {
        "teacher": lambda: make_bank(views=1, seed=8),
        "data": lambda: make_bank(views=1, data=load_digits(labels_per_class=11)),
        "pad": lambda: make_bank(views=1, data=load_digits(pad=0)),
        "dtype": lambda: make_bank(views=1, bank_dtype="fp32"),
        "precision": lambda: make_bank(views=1, precision="bf16"),
    }[change]()
    assert other.store.folder != bank.store.folder
    assert len(other.store.missing()[0]) == 3
    with pytest.raises(ValueError, match="view 0 is incomplete"):
        other.store.open_outputs()


def load_digits(**values: object) -> Data:
    defaults = {"kind": "digits", "labels_per_class": 10, "pad": 1, "flip": True}
    return load(DataSpec.model_validate(defaults | values))


def test_a_study_does_not_begin_with_an_unfilled_bank(make_bank: MakeBank) -> None:
    bank = make_bank(views=2)
    with pytest.raises(ValueError, match="view 0 is incomplete"):
        open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)
    assert bank_store(bank.plan, bank.file, bank.spec.teacher, bank.data, CPU).folder == bank.store.folder


HOSTILE = (
    "../../outside",
    "/absolute",
    "..",
    "a/b",
    "a%2fb",
    "a\0b",
    "new\nline",
    "\u02fa",
    "/a",
    "ä",
    "con",
)


def test_a_maps_name_leads_to_a_file_of_its_own_in_the_folder(make_bank: MakeBank, tmp_path: Path) -> None:
    bank = make_bank(views=1)
    names = [f"map.{name}" for name in HOSTILE]
    plan = replace(bank.plan, banked_outputs=tuple(BankedOutput(name, (1,)) for name in names))
    store = Store(plan, bank.file, bank.data, bf16=False)
    around = {path for path in tmp_path.rglob("*") if store.folder not in path.parents}
    store.prepare()
    for block in store.blocks():
        rows = np.ones((block.last - block.first, 1), np.float16)
        values = {name: (number + 1) * rows for number, name in enumerate(names)}
        store.enter(block, store.write(block, [values]))
    assert store.missing() == ([], [])
    opened = store.open_outputs()
    assert [set(opened[name].flatten().tolist()) for name in names] == [{n + 1.0} for n in range(len(names))]
    assert len(list(store.folder.glob("*.fp16"))) == len(names)
    assert {path for path in tmp_path.rglob("*") if store.folder not in path.parents} == around | {
        store.folder,
        store.folder.parent,
    }
