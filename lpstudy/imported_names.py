"""Names in code of one's own that a study file gives as `module:name`; a flag imports the code."""

import importlib
import re
import sys
from dataclasses import dataclass
from difflib import get_close_matches

from lpstudy.one_line import one_line
from lpstudy.user_lines import PREFIX, user_line

PATTERN = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*"
"""Of `module:name`: the file without .py, or the package's folder with the file within, then the name."""


@dataclass(frozen=True, slots=True)
class ImportedModule:
    """A file or a package of imported code."""

    file: str
    """The name that messages show."""
    sha256: str
    is_loaded: bool
    """False where only a stored study names it."""


MODULES: dict[str, ImportedModule] = {}
"""What this process has run, or a stored study declares, by the file's name without .py."""


def is_reference(text: str) -> bool:
    """Whether a text is `module:name`."""
    return re.fullmatch(PATTERN, text) is not None


def declare_module(file: str, sha256: str) -> None:
    """Let stored studies name what is in code that is not imported."""
    MODULES.setdefault(_stem(file), ImportedModule(file, sha256, is_loaded=False))


def add_module(file: str, sha256: str) -> None:
    """Let study files name what is in code that this process has run."""
    MODULES[_stem(file)] = ImportedModule(file, sha256, is_loaded=True)


def code_at(reference: str) -> str:
    """SHA-256 of the code that a name is in; raises as `module_of`."""
    return module_of(reference).sha256


def module_of(reference: str) -> ImportedModule:
    """The file or package of `module:name`.

    Raises:
        ValueError: No flag has imported it, nor does a stored study declare it.
    """
    stem = reference.partition(":")[0].partition(".")[0]
    if stem not in MODULES:
        known = f"; imported are {', '.join(MODULES)}" if MODULES else ""
        raise ValueError(
            f"{reference} needs the flag --import {stem}.py, or --import with the folder {stem}{known}"
        )
    return MODULES[stem]


def resolve(reference: str) -> object:
    """What `module:name` names.

    Raises:
        ValueError: One line: its code is not imported, or has no such name.
    """
    owner = module_of(reference)
    name, _, attribute = reference.partition(":")
    if not owner.is_loaded:
        raise ValueError(f"the code of {reference} is not imported: give --import {owner.file}")
    try:
        module = importlib.import_module(PREFIX + name)
    except ModuleNotFoundError as error:
        if error.name != PREFIX + name:
            raise ValueError(f"{reference}: {user_line(error)}: {one_line(error)}") from error
        raise ValueError(f"{reference}: {owner.file} has no module {name}") from None
    except Exception as error:  # of any kind: it may be that of one's own code
        raise ValueError(
            f"{reference}: {user_line(error)}: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not hasattr(module, attribute):
        own = [
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        ]
        known = get_close_matches(attribute, own, n=3) or own[:10]
        hint = f"; it has {', '.join(known)}" if known else ""
        raise ValueError(f"{reference}: {name} has no {attribute}{hint}")
    return getattr(module, attribute)


def reference_to(thing: type) -> str | None:
    """`module:name` of a class of imported code; None for another one."""
    module = thing.__module__
    if not module.startswith(PREFIX) or getattr(sys.modules.get(module), thing.__name__, None) is not thing:
        return None
    return f"{module.removeprefix(PREFIX)}:{thing.__name__}"


def _stem(file: str) -> str:
    return file.removesuffix(".py")
