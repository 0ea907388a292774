import base64

import numpy as np
import pytest

from lpstudy.correctness import pack, unpack


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
