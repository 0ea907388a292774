"""The studies in a storage folder, and the addresses and engines of their ledgers."""

from argparse import Namespace

from sqlalchemy import Engine

from lpstudy.folder import Folder, LocalFolder
from lpstudy.ledger import UnwritableError, engine_at, ledger_file_url, study_names


def studies(storage: Folder, url: str | None) -> list[str]:
    """The names of all studies in a storage folder; one that --fresh archived is called NAME.old1."""
    if isinstance(storage, LocalFolder) and url is None:
        return sorted(path.parent.name for path in storage.path.glob("*/ledger.db"))
    return study_names(engine_at(ledger_url(storage, url)))


def will_resume(args: Namespace) -> bool:
    """Whether a sweep will resume an existing study, as far as can be told."""
    from lpstudy import space  # slow: it imports the networks

    try:
        name = space.read_study(args.study).name
        return not args.fresh and name in studies(args.storage, args.ledger)
    except (ValueError, OSError, UnwritableError):
        return False


def ledger_url(folder: Folder, url: str | None) -> str:
    """The address of a study's ledger: `url`, else a database file in the study's folder.

    Raises:
        ValueError: The folder is in an object store, which cannot hold a database.
    """
    if url is not None:
        return url
    if not isinstance(folder, LocalFolder):
        raise ValueError(
            f"--storage {folder}: it cannot hold a database: give --ledger postgresql://... or, with one"
            " driver, --ledger sqlite:////local/folder/ledger.db"
        )
    return ledger_file_url(folder.path)


def ledger_engine(folder: Folder, url: str | None) -> Engine:
    """The database engine of an existing study's ledger.

    Raises:
        ValueError: There is no such study.
    """
    if url is None and isinstance(folder, LocalFolder) and not (folder.path / "ledger.db").is_file():
        raise ValueError(f"{folder}: no such study")
    return engine_at(ledger_url(folder, url))


def existing_study(storage: Folder, url: str | None, name: str) -> str:
    """The name, if a study of this name exists.

    Raises:
        ValueError: There is none; the message lists the studies that exist.
    """
    existing_names = studies(storage, url)
    if name not in existing_names:
        where = "the ledger" if url is not None else str(storage)
        raise ValueError(f"{where} has no study {name!r}; it has {', '.join(existing_names) or 'none'}")
    return name


def ledger_name(name: str, url: str | None) -> str:
    """A study's name in its ledger: an archived study keeps its original name in its own database file."""
    return name if url is not None else name.partition(".")[0]
