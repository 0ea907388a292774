"""Lists of the images in folders of classes: train/<class>/*, test/<class>/*, or root/<class>/* alone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lpstudy.data.files import Files, Listing
from lpstudy.data.folder_walk import FolderWalk, printable_name
from lpstudy.data.image_region import display_path
from lpstudy.data.test_part import CUT_REMARK, cut_test_files


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of a kind of data set below its root."""

    kind: str
    tests: tuple[str, ...]
    """Possible names of the test set's folder; the first with images is used."""
    validations: tuple[str, ...] = ()
    """Possible names of the official validation part's folder, where it is not the test set."""
    cuts_test: bool = False
    """Whether a test part is cut where there is none, and `train` may be missing."""

    @property
    def expected(self) -> str:
        """What must be below the root, in words."""
        tests = " or ".join(f"{name}/<class>/*" for name in self.tests)
        return f"train/<class>/* and {tests}" + (", or <class>/* alone" if self.cuts_test else "")


def list_files(layout: Layout, root: Path, *, progress: bool) -> Listing:
    """List the files below root.

    Raises:
        FileNotFoundError: The folder, its training set or its test set is missing.
        ValueError: A class is empty or in one set only, a file is no image, a link leads out of the folder.
    """
    walk = FolderWalk(os.fsencode(root.resolve()), progress)
    train, tests = _folders(layout, root, walk)
    class_folders = walk.classes(os.fsencode(train))
    if len(class_folders) < 2:
        count = len(class_folders)
        raise ValueError(f"{str(root / train)!r} has {count} class folder, a data set needs two")
    names = tuple(printable_name(name) for name in class_folders)
    name = printable_name(os.path.basename(walk.root)) or layout.kind
    if not tests:
        part, test = cut_test_files(walk.files(os.fsencode(train), class_folders), names)
        return Listing(name, names, part, test, (CUT_REMARK,))
    test_folder, remarks = _first_labelled_folder(walk, tests, class_folders)
    others = (
        [] if test_folder in layout.validations else [name for name in layout.validations if name in tests]
    )
    labelled = [other for other in others if walk.has_images(os.fsencode(other), class_folders)]
    parts = [walk.files(os.fsencode(train), class_folders)]
    for folder in (test_folder, *labelled[:1]):
        parts.append(_part(walk, train, folder, class_folders))
    validation = parts[2] if len(parts) > 2 else None
    return Listing(name, names, parts[0], parts[1], remarks, validation)


def _folders(layout: Layout, root: Path, walk: FolderWalk) -> tuple[str, list[str]]:
    """The folder of the training classes, and those that exist of the possible test sets."""
    others = dict.fromkeys((*layout.tests, *layout.validations))
    tests = [name for name in others if (root / name).is_dir()]
    if (root / "train").is_dir() and (tests or layout.cuts_test):
        return "train", tests
    if layout.cuts_test and not tests and root.is_dir() and walk.has_class_folders():
        return "", []
    raise FileNotFoundError(f"{layout.kind} is not in {str(root)!r}: expected there {layout.expected}")


def _part(walk: FolderWalk, train: str, folder: str, class_folders: Mapping[bytes, bytes]) -> Files:
    """The images of a part that has the classes of the training set."""
    own_folders = walk.classes(os.fsencode(folder))
    for name in sorted({*class_folders} ^ {*own_folders}):
        present, absent = (train, folder) if name in class_folders else (folder, train)
        root = display_path(walk.root)
        raise ValueError(f"class {display_path(name)} of {root} is in {present} but not in {absent}")
    return walk.files(os.fsencode(folder), own_folders)


def _first_labelled_folder(
    walk: FolderWalk, names: list[str], classes: Mapping[bytes, bytes]
) -> tuple[str, tuple[str, ...]]:
    """The first folder with images of one of the classes, and a remark on those before it.

    Where there is none, the first folder: a later check reports its problem.
    """
    empty: list[str] = []
    for name in names:
        if walk.has_images(os.fsencode(name), classes):
            remark = f"{' and '.join(empty)} has no images in class folders: the test set is {name}"
            return name, (remark,) if empty else ()
        empty.append(name)
    return names[0], ()
