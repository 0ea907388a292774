"""A test part for a data set without one: a third of every class, always the same images."""

import numpy as np
import numpy.typing as npt
import torch

from lpstudy.data.files import Files
from lpstudy.data.partition import stratified_split

TEST_FRACTION = 1 / 3
"""Share of every class in a test part that is cut from a data set without one."""
CUT_REMARK = "there is no test part: a third of every class, always the same images, is the test set"
VALIDATION_REMARK = "there is no test part: the test set is validation"


def rows_of_parts(
    labels: npt.NDArray[np.int64], names: tuple[str, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ascending positions of the training set and of the test set.

    Args:
        labels: Positions in `names`, shape (n,).
        names: Names of the classes.

    Raises:
        ValueError: A class has one image.
    """
    train, test = stratified_split(
        torch.from_numpy(labels), TEST_FRACTION, seed=0, purpose="test", names=names
    )
    return train.numpy(), test.numpy()


def cut_test_files(files: Files, names: tuple[str, ...]) -> tuple[Files, Files]:
    """The training set and the test set of a data set without one: see `rows_of_parts`."""
    train, test = rows_of_parts(files.labels, names)
    return files.select(train), files.select(test)
