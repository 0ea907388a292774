"""Parsers for folders and paths that users give in flags, variables and study files."""

import re
from pathlib import Path

from lpstudy.environment import check_characters, expand
from lpstudy.folder import URL, Folder, LocalFolder, folder_at
from lpstudy.redaction import without_credentials


def parse_folder(text: str) -> Folder:
    """Parse a folder that a user names by a path or URL.

    Raises:
        ValueError: See `folder_at`; or the name is not valid.
    """
    if re.match("file:(?!//)", text, re.IGNORECASE):
        raise ValueError(f"{text}: write file:///folder, or ./{text} for a folder of this name")
    folder = folder_at(expand(check_characters(text)))
    if isinstance(folder, LocalFolder):
        check_characters(str(folder.path.absolute()))
    return folder


def parse_path(text: str) -> Path:
    """Parse a path of this machine that a user names.

    Raises:
        ValueError: See `parse_folder`; or it is a URL of another machine or store.
    """
    if URL.match(text) and not text.lower().startswith("file://"):
        raise ValueError(f"{without_credentials(text)}: must be a folder of this machine, not a URL")
    folder = parse_folder(text)
    if not isinstance(folder, LocalFolder):
        raise ValueError(f"{folder}: must be a folder of this machine, not a URL")
    return folder.path
