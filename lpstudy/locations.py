"""Folders as users name them, in flags, variables and study files."""

import re
from pathlib import Path

from lpstudy.environment import check_characters, expand
from lpstudy.folder import URL, Folder, LocalFolder, folder_at
from lpstudy.redaction import without_credentials


def parse_folder(text: str) -> Folder:
    """The folder that a user names by a path, `~` expanded, or a URL.

    Raises:
        ValueError: See `folder_at`; or no folder may have this name.
    """
    if re.match("file:(?!//)", text, re.IGNORECASE):
        raise ValueError(f"{text}: write file:///folder, or ./{text} for a folder of this name")
    found = folder_at(expand(check_characters(text)))
    if isinstance(found, LocalFolder):
        check_characters(str(found.path.absolute()))
    return found


def parse_path(text: str) -> Path:
    """The file or folder of this machine that a user names.

    Raises:
        ValueError: See `parse_folder`; or it is the URL of another place.
    """
    if URL.match(text) and not text.lower().startswith("file://"):
        raise ValueError(f"{without_credentials(text)}: must be a folder of this machine, not a URL")
    found = parse_folder(text)
    if not isinstance(found, LocalFolder):
        raise ValueError(f"{found}: must be a folder of this machine, not a URL")
    return found.path
