"""Data sets: decoding or streaming, seeded splits, augmentation as a pure function."""

from lpstudy.data.arrays import Arrays, arrays_with_test_part
from lpstudy.data.augment import UNLIMITED
from lpstudy.data.construction import data_from_arrays
from lpstudy.data.dataset import Data
from lpstudy.data.loading import configured_root, default_root, load
from lpstudy.data.order import Order, Share
from lpstudy.data.registry import declare as declare_kind
from lpstudy.data.registry import register
from lpstudy.data.remarks import part_remarks
from lpstudy.data.spec import DataSpec

__all__ = [
    "UNLIMITED",
    "Arrays",
    "Data",
    "DataSpec",
    "Order",
    "Share",
    "arrays_with_test_part",
    "configured_root",
    "data_from_arrays",
    "declare_kind",
    "default_root",
    "load",
    "part_remarks",
    "register",
]
