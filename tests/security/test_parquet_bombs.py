"""A small parquet file that unpacks to very much is refused."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from image_forms import png
from pyarrow import parquet

from lpstudy.data import DataSpec, load
from lpstudy.data import parquet as reader
from lpstudy.data.packed_images import Pack

SECONDS = 2.0
IMAGE = png(np.zeros((3, 64, 64), dtype=np.uint8))


def refused(root: Path) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"'train.parquet' may be a decompression bomb: it has [\d,]+ bytes"):
        load(DataSpec(kind="parquet", root=root))
    assert time.monotonic() - start < SECONDS


def test_a_column_of_zeros_that_compresses_a_thousandfold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LARGEST_UNPACKED", 2**20)
    monkeypatch.setattr(Pack, "add", lambda *_: pytest.fail("it was unpacked"))
    table = pa.table({"image": [bytes(2**20 + row) for row in range(8)], "label": [0, 1] * 4})
    parquet.write_table(table, tmp_path / "train.parquet", compression="zstd", use_dictionary=False)
    refused(tmp_path)


def test_one_image_in_a_million_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LARGEST_UNPACKED", 2**20)
    monkeypatch.setattr(reader, "LARGEST_RATIO", 10)
    images = pa.array([IMAGE] * 100_000)
    table = pa.table({"image": images.dictionary_encode(), "label": [0, 1] * 50_000})
    table = table.cast(pa.schema([("image", pa.binary()), ("label", pa.int64())]))
    parquet.write_table(table, tmp_path / "train.parquet")
    refused(tmp_path)
    assert not [*tmp_path.glob("cache/images/*")]
