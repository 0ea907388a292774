"""The line of a user's own code at which an error arose."""

import sysconfig
from pathlib import Path
from traceback import walk_tb

from lpstudy.one_line import one_line

PREFIX = "lpstudy_imported_"
"""Of the modules' names of imported code, so that none is that of an installed package."""
_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    | {str(Path(__file__).resolve().parent)}
)


def user_line(error: BaseException) -> str | None:
    """File and line of the innermost frame of code that is neither lpstudy's nor a library's; or None.

    The file of imported code is its name as messages show it, without the folder that it came from.
    """
    lines = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if is_imported(frame.f_globals.get("__name__")) or _is_own(frame.f_code.co_filename)
    ]
    return lines[-1] if lines else None


class UserCodeError(ValueError):
    """An error of imported code: file, line and the error itself, in one line."""


def user_code_error(error: BaseException) -> UserCodeError | None:
    """An error with the line of imported code at which it arose; None where it did not arise there."""
    if isinstance(error, UserCodeError):
        return error
    lines = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if is_imported(frame.f_globals.get("__name__"))
    ]
    return UserCodeError(f"{lines[-1]}: {type(error).__name__}: {one_line(error)}") if lines else None


def is_imported(module: object) -> bool:
    """Whether a module of this name is imported code."""
    return str(module).startswith(PREFIX)


def _is_own(file: str) -> bool:
    return not file.startswith(("<", *_LIBRARIES)) and Path(file).is_absolute()
