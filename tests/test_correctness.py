import base64

import numpy as np
import pytest

from lpstudy.correctness import check_record, first_line, pack, pack_all, shifted_records, unpack


@pytest.mark.parametrize("images", [1, 7, 8, 9, 599, 50_000])
def test_a_record_says_of_each_image_what_was_packed(images):
    correct = np.random.default_rng(images).random(images) < 0.9
    record = pack(correct)
    assert np.array_equal(unpack(record), correct)
    assert len(record) < images / 6 + 20  # ImageNet's 50,000 images take 8.3 kB


def test_the_first_image_is_the_highest_bit_of_the_first_byte():
    assert pack(np.array([True] + 8 * [False])) == "9:" + base64.b64encode(b"\x80\x00").decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "8:",
        "8:AAAA",
        "9:AA==",
        "x:AA==",
        "-8:AA==",
        "8:AA=",
        "8:A\nA==",
        "0:",
        "99999999:AA==",
        "8:é===",
    ],
)
def test_a_text_that_is_no_record_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="record") as refused:
        unpack(text)
    assert str(refused.value).isprintable()


def test_a_finals_record_has_a_line_for_each_shift():
    random = np.random.default_rng(0)
    clean, one, other = (random.random(size) < 0.5 for size in (70, 70, 9))
    record = pack_all(clean, {"noise_1": one, "data/photos": other})
    check_record(record)
    assert np.array_equal(unpack(record), clean)
    assert first_line(record) == pack(clean)
    lines = shifted_records(record)
    assert [*lines] == ["noise_1", "data/photos"]
    assert np.array_equal(unpack(lines["noise_1"]), one)
    assert np.array_equal(unpack(lines["data/photos"]), other)
    assert shifted_records(pack(clean)) == {}


@pytest.mark.parametrize(
    "line", ["", "noise_1", "noise_1 8:A", "a b 8:AA==", "x 8:AA==\nx 8:AA==", "é 8:AA=="]
)
def test_a_line_that_is_no_shifts_record_is_refused(line):
    with pytest.raises(ValueError, match="test images"):
        check_record(f"8:AA==\n{line}")


def test_a_record_without_end_is_refused():
    with pytest.raises(ValueError, match="more than 1000 lines"):
        check_record("8:AA==" + "".join(f"\nn{n} 8:AA==" for n in range(1000)))
