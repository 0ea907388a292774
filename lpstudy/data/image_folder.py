"""A folder of images of any size: train/<class>/*, test/<class>/* and perhaps val/<class>/*, or <class>/*."""

from pathlib import Path

from lpstudy.data.files import Listing
from lpstudy.data.listing import Layout, list_files

VALIDATIONS = ("val", "validation")
LAYOUT = Layout("image_folder", ("test", *VALIDATIONS), VALIDATIONS, cuts_test=True)


def list_image_folder(root: Path, *, progress: bool) -> Listing:
    """List the folder's files; val is the validation part beside test, and the test set where there is none.

    Raises:
        FileNotFoundError: The folder or its training set is missing.
        ValueError: A class is empty or in one set only, a file is no image, a link leads out of the folder.
    """
    return list_files(LAYOUT, root, progress=progress)
