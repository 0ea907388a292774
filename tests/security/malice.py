"""Pickles that leave a trace where anybody loads them."""

import pickle
from pathlib import Path


class Malicious:
    """Makes a file when it is unpickled.

    Args:
        marker: The file.
    """

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._marker,))


def pickled(marker: Path) -> bytes:
    """A pickle that makes the file."""
    return pickle.dumps(Malicious(marker))


def torch_pickle(marker: Path) -> bytes:
    """The same as torch.save writes it: a zip archive with a pickle in it."""
    import io

    import torch

    buffer = io.BytesIO()
    torch.save({"weights": Malicious(marker)}, buffer)
    return buffer.getvalue()


def numpy_pickle(marker: Path) -> bytes:
    """The same as NumPy writes an array of objects."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.array([Malicious(marker)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


FORMS = {"pickle": pickled, "torch": torch_pickle, "numpy": numpy_pickle}
