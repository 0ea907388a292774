"""ImageNet, and data sets with its folders: train/<wnid>/* and val/<wnid>/*; val is the test set.

Source: Russakovsky et al., "ImageNet large scale visual recognition challenge", 2015.
"""

from pathlib import Path

from lpstudy.data.files import Listing
from lpstudy.data.listing import Layout, list_files

SIDE = 224
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Per channel, as in the training of torchvision's weights, so that they suit a teacher from there."""


def list_imagenet(root: Path, *, progress: bool) -> Listing:
    """List the files below root.

    Raises:
        FileNotFoundError: The folder, its training set or its test set is missing.
        ValueError: A class is empty or in one set only, a file is no image, a link leads out of the folder.
    """
    return list_files(Layout("imagenet", ("val",)), root, progress=progress)
