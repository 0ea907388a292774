"""The folders of the cache, which studies share: teachers, banks, decoded images."""

from pathlib import Path

from lpstudy import environment
from lpstudy.folder import Folder, LocalFolder
from lpstudy.locations import parse_folder, parse_path


def shared_cache() -> Folder:
    """The folder of teachers and banks: LPSTUDY_CACHE, by default ~/.cache/lpstudy/cache.

    Raises:
        ValueError: LPSTUDY_CACHE is a URL that cannot be used.
    """
    text = environment.location(environment.CACHE)
    try:
        return parse_folder(text)
    except ValueError as error:
        raise ValueError(f"{environment.CACHE}: {error}") from None


def cache_folder() -> Path:
    """The folder of the files that are mapped into memory: decoded images, and banks.

    The shared cache; where that is an object store, a folder of this machine: LPSTUDY_LOCAL, by default
    ~/.cache/lpstudy/local.

    Raises:
        ValueError: LPSTUDY_CACHE is a URL that cannot be used, or LPSTUDY_LOCAL is a URL.
    """
    shared = shared_cache()
    if isinstance(shared, LocalFolder):
        return shared.path
    text = environment.location(environment.LOCAL)
    try:
        return parse_path(text)
    except ValueError as error:
        raise ValueError(f"{environment.LOCAL}: {error}") from None
