"""Whether two machines see one folder: a word written by the first, found and answered by the second."""

import os
import time

from lpstudy.folder import Folder

SEEN_SECONDS = 5.0
"""A network file system may show a new file that late."""
LOOK_SECONDS = 0.1
QUESTION = "question"


def ask(probe: Folder, word: str) -> None:
    """Write the word into a folder, which is made."""
    probe.write(QUESTION, word.encode())


def answer(probe: Folder, word: str, name: str) -> str:
    """Find the word and write it under one's own name; what is wrong, where that cannot be done."""
    unseen = _unseen(probe, QUESTION, word)
    if unseen:
        return f"does not see what is written there: {unseen}"
    try:
        probe.write(name, word.encode())
    except OSError as error:
        return f"cannot write there: {_cause(error)}"
    return ""


def heard(probe: Folder, word: str, name: str) -> str:
    """Find the answer of that name; what is wrong, where it is not there."""
    unseen = _unseen(probe, name, word)
    return f"writes there what others do not see: {unseen}" if unseen else ""


def _cause(error: OSError) -> str:
    """What the system says, without the name of a file that nobody knows."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def _unseen(probe: Folder, name: str, word: str) -> str:
    """Why a file does not have a content, now or a little later; empty where it has."""
    until = time.monotonic() + SEEN_SECONDS
    while True:
        try:
            if probe.read(name) == word.encode():
                return ""
            said = "it reads something else"
        except OSError as error:  # not there yet, or never
            said = _cause(error)
        if time.monotonic() >= until:
            return said
        time.sleep(LOOK_SECONDS)
