"""ImageNet, and what is laid out like it: train/<wnid>/* and val/<wnid>/*; val is the test set.

Source: Russakovsky et al., "ImageNet large scale visual recognition challenge", 2015.
"""

from pathlib import Path

from lpstudy.data.listing import Listing, list_files

SIDE = 224
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Per channel, what torchvision's weights were trained with: a teacher from outside sees what it knows."""


def list_imagenet(root: Path, *, progress: bool) -> Listing:
    """The files below root.

    Raises:
        FileNotFoundError: The folder, its training set or its test set is missing.
        ValueError: A class is empty or in one set only, a file is no image, a link leads out of the folder.
    """
    return list_files("imagenet", root, test_folders=("val",), progress=progress)
