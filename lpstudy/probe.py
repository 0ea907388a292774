"""Whether two machines see one folder: a word written by the first, found and answered by the second."""

import time
from pathlib import Path

from lpstudy.disk import write_atomically

SEEN_SECONDS = 5.0
"""A network file system may show a new file that late."""
LOOK_SECONDS = 0.1
QUESTION = "question"


def ask(probe: Path, word: str) -> None:
    """Write the word into a folder, which is made."""
    write_atomically(probe / QUESTION, word.encode())


def answer(probe: Path, word: str, name: str) -> str:
    """Find the word and write it under one's own name; what is wrong, where that cannot be done."""
    if not _holds(probe / QUESTION, word):
        return "does not see what is written there"
    try:
        write_atomically(probe / name, word.encode())
    except OSError as error:
        return f"cannot write there: {error.strerror or error}"
    return ""


def heard(probe: Path, word: str, name: str) -> str:
    """Find the answer of that name; what is wrong, where it is not there."""
    return "" if _holds(probe / name, word) else "writes there what others do not see"


def _holds(path: Path, word: str) -> bool:
    """Whether a file has a content, now or a little later."""
    until = time.monotonic() + SEEN_SECONDS
    while True:
        try:
            if path.read_bytes() == word.encode():
                return True
        except OSError:  # not there yet, or never
            pass
        if time.monotonic() >= until:
            return False
        time.sleep(LOOK_SECONDS)
