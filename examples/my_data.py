"""A data set of one's own: rings and discs, drawn rather than read."""

from pathlib import Path

import numpy as np

from lpstudy.data import Arrays, arrays_with_test_part, register

SIDE, IMAGES = 12, 300


def read_shapes(root: Path) -> Arrays:
    """Images of shape (n, 1, 12, 12), uint8, with labels; a data set of files would read them below root."""
    del root
    generator = np.random.default_rng(0)  # the same images in every process
    labels = np.arange(IMAGES) % 2
    radii, centres = generator.uniform(3, 5, IMAGES), generator.uniform(4.5, 6.5, (IMAGES, 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distances = np.hypot(rows - centres[:, :1, None], columns - centres[:, 1:, None])
    is_inside = distances < radii[:, None, None]
    is_hole = (distances < 0.6 * radii[:, None, None]) & (labels == 1)[:, None, None]
    noise = generator.integers(0, 60, (IMAGES, SIDE, SIDE))
    images = (190 * (is_inside & ~is_hole) + noise).astype(np.uint8)
    return arrays_with_test_part(images[:, None], labels, ("disc", "ring"))


register("shapes", read_shapes)
