"""Data sets: decoding or streaming, seeded splits, augmentation as a pure function."""

from lpstudy.data.arrays import cache_folder, shared_cache
from lpstudy.data.loading import Data, configured_root, default_root, load
from lpstudy.data.remarks import part_remarks
from lpstudy.data.spec import DataSpec

__all__ = [
    "Data",
    "DataSpec",
    "cache_folder",
    "configured_root",
    "default_root",
    "load",
    "part_remarks",
    "shared_cache",
]
