"""A probe of whether two machines share a folder: one writes a word, the other finds and answers it."""

import os
import time

from lpstudy.folder import Folder
from lpstudy.one_line import one_line

VISIBLE_SECONDS = 5.0
"""How late a network file system may show a new file."""
POLL_SECONDS = 0.1
QUESTION = "question"


def write_question(probe: Folder, word: str) -> None:
    """Create the probe folder and write the word into it."""
    probe.write(QUESTION, word.encode())


def write_answer(probe: Folder, word: str, name: str) -> str:
    """Find the word and write it back under `name`; returns the problem, empty if there is none."""
    problem = _problem_reading(probe, QUESTION, word)
    if problem:
        return f"does not see what is written there: {problem}"
    try:
        probe.write(name, word.encode())
    except OSError as error:
        return f"cannot write there: {_cause(error)}"
    return ""


def check_answer(probe: Folder, word: str, name: str) -> str:
    """Find the answer under `name`; returns the problem, empty if there is none."""
    problem = _problem_reading(probe, name, word)
    return f"writes there what others do not see: {problem}" if problem else ""


def _cause(error: OSError) -> str:
    """The system's message, without the name of the probe's temporary file."""
    return os.strerror(error.errno) if error.errno else one_line(error)


def _problem_reading(probe: Folder, name: str, word: str) -> str:
    """Why a file lacks the expected content, now or a little later; empty if it has it."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        try:
            if probe.read(name) == word.encode():
                return ""
            problem = "it reads something else"
        except OSError as error:  # not there yet, or never
            problem = _cause(error)
        if time.monotonic() >= deadline:
            return problem
        time.sleep(POLL_SECONDS)
