"""Pickles that create a file when they are loaded."""

import pickle
from pathlib import Path


class Malicious:
    """An object that creates a file when it is unpickled.

    Args:
        marker: The file.
    """

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._marker,))


def pickled(marker: Path) -> bytes:
    """A pickle that creates the file."""
    return pickle.dumps(Malicious(marker))


def torch_pickle(marker: Path) -> bytes:
    """Such a pickle in the format of torch.save, a zip archive."""
    import io

    import torch

    buffer = io.BytesIO()
    torch.save({"weights": Malicious(marker)}, buffer)
    return buffer.getvalue()


def numpy_pickle(marker: Path) -> bytes:
    """Such a pickle in NumPy's format of object arrays."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.array([Malicious(marker)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


FORMS = {"pickle": pickled, "torch": torch_pickle, "numpy": numpy_pickle}
