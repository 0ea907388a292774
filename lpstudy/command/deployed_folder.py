"""The folder that `lpstudy deploy` writes: complete or not at all, over an earlier one alone."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lpstudy.deployment.config import FILES, read_config
from lpstudy.disk import storage_errors_at, sync


def check_target(target: Path) -> None:
    """Refuse a place that holds something else than an earlier deployment.

    Raises:
        ValueError: It does; one line.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ValueError(f"{target} exists and is no folder: name another by --out")
    if not target.is_dir():
        return
    names = sorted(path.name for path in target.iterdir())
    others = [name for name in names if name not in FILES]
    if others:
        raise ValueError(
            f"{target} has what lpstudy deploy does not write, {others[0]!r}: name another by --out"
        )
    if not names:
        return
    try:
        read_config(target)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{target} is not empty and no earlier deployment ({error}): name another by --out"
        ) from None


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target, which becomes the target at the end of the context.

    An error leaves the target as it was.

    Raises:
        StorageError: The disk is full, or cannot be written.
        ValueError: See `check_target`.
    """
    mark = uuid.uuid4().hex[:8]
    temporary, old = (target.with_name(f".{target.name}.{kind}-{mark}") for kind in ("new", "old"))
    with storage_errors_at(target):
        temporary.mkdir(parents=True)
    try:
        yield temporary
        check_target(target)
        with storage_errors_at(target):
            for path in temporary.iterdir():
                sync(path)
            if target.is_dir():
                target.rename(old)
            temporary.rename(target)
            sync(target.parent)
    except BaseException:
        if old.is_dir() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
