"""Damage to a bank's files is detected, named and repaired."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_banks import SmallBank, content

MakeBank = Callable[..., SmallBank]


def _flip_a_bit(path: Path) -> None:
    values = bytearray(path.read_bytes())
    values[100 * 10 * 2 + 45 * 10 * 2] ^= 1  # view 1, sample 45
    path.write_bytes(values)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 100 * 10 * 2 + 50 * 10 * 2])  # in view 1, after sample 49


def _spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("name", "harm", "refilled", "named"),
    [
        ("logits.fp16", _flip_a_bit, [(1, 40)], ["view 1, samples 40 to 79"]),
        (
            "logits.fp16",
            _truncate,
            [(1, 40), (1, 80)],
            ["view 1, samples 40 to 79", "view 1, samples 80 to 99"],
        ),
        ("logits.fp16", Path.unlink, [(0, 0), (0, 40), (0, 80), (1, 0), (1, 40), (1, 80)], ["view 0"] * 3),
        ("views/00001.json", Path.unlink, [(1, 0), (1, 40), (1, 80)], []),
        ("views/00001.json", _spoil, [(1, 0), (1, 40), (1, 80)], ["00001.json"]),
    ],
)
def test_what_is_damaged_is_named_and_nothing_else_is_filled_again(
    name: str,
    harm: Callable[[Path], None],
    refilled: list[tuple[int, int]],
    named: list[str],
    make_bank: MakeBank,
) -> None:
    bank = make_bank(views=2)
    bank.fill()
    before = content(bank.store)
    harm(bank.store.folder / name)
    assert content(bank.store) != before
    missing, damaged = bank.store.missing()
    assert [(block.view, block.first) for block in missing] == refilled
    for line, words in zip(damaged, named, strict=False):
        assert words in line
        assert line.startswith(str(bank.store.folder / name))
        assert line.isprintable()
    assert bool(damaged) == bool(named)
    bank.fill()
    assert content(bank.store) == before
    assert bank.store.missing() == ([], [])


@pytest.mark.parametrize("harm", [Path.unlink, _spoil])
def test_a_damaged_manifest_is_written_anew(harm: Callable[[Path], None], make_bank: MakeBank) -> None:
    bank = make_bank(views=1)
    bank.fill()
    before = content(bank.store)
    harm(bank.store.folder / "bank.json")
    bank.fill()
    assert content(bank.store) == before


def test_a_file_that_became_shorter_since_is_not_mapped(make_bank: MakeBank) -> None:
    bank = make_bank(views=2)
    bank.fill()
    _truncate(bank.store.folder / "logits.fp16")
    with pytest.raises(ValueError, match=r"logits\.fp16: is shorter than its 2 views"):
        bank.store.open_outputs()
