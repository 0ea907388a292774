"""Reading of study files, by name or path, with errors in one line."""

import codecs
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lpstudy.data import DataSpec
from lpstudy.space.budget import Budget, Search
from lpstudy.space.cost_settings import CostSettings
from lpstudy.space.finals_settings import FinalsSettings
from lpstudy.space.imported_code import ImportedFile, declare
from lpstudy.space.published import PublishedResult
from lpstudy.space.ranges import first_error
from lpstudy.space.shift_settings import ShiftSettings
from lpstudy.space.student_space import StudentSpace
from lpstudy.space.study_spec import NAME, Constraints, StudySpec
from lpstudy.space.teacher_spec import TeacherSpec
from lpstudy.space.training import Training
from lpstudy.space.warm_start import WarmStart
from lpstudy.terminal import printable

FOLDER = "search_spaces"
IMPORTED = "imported"
"""Key of a stored study; a study file must not have it."""
MAX_BYTES = 1 << 20
"""Largest size of a study file; no more is read of a larger one."""
_MAX_INTEGER = 2**63 - 1
"""Largest integer that the ledger's database can store."""
SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSpec,
    "teacher": TeacherSpec,
    "students": StudentSpace,
    "training": Training,
    "budget": Budget,
    "search": Search,
    "constraints": Constraints,
    "cost": CostSettings,
    "shift": ShiftSettings,
    "finals": FinalsSettings,
    "warm_start": WarmStart,
    "published": PublishedResult,
}


def folders() -> tuple[Path, ...]:
    """The folders of study files: the working directory's, then the package's."""
    package = Path(__file__).resolve().parents[1]
    return Path(FOLDER), package / FOLDER, package.parent / FOLDER


def known_studies() -> tuple[str, ...]:
    """The names of all study files in `folders`."""
    return tuple(sorted({path.stem for folder in folders() for path in folder.glob("*.toml")}))


def find_study_file(study: str) -> Path:
    """The file of a study by its name, or a path that ends in .toml.

    Raises:
        ValueError: No such study; the known ones are listed.
    """
    if study.endswith(".toml"):
        path = Path(study)
        if not path.is_file():
            raise ValueError(f"{printable(study)}: no such file")
        return path
    if not NAME.fullmatch(study):
        raise ValueError(
            f"{study[:80]!r} is not a study name:"
            " 1 to 64 letters, digits, - and _, or a path that ends in .toml"
        )
    for folder in folders():
        path = folder / f"{study}.toml"
        if path.is_file():
            return path
    raise ValueError(f"unknown study {study!r}; known are {', '.join(known_studies()) or 'none'}")


def read_study_file(
    path: Path,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    imported: Sequence[ImportedFile] = (),
) -> StudySpec:
    """Read a study file; given numbers replace those of its budget.

    Args:
        path: The study file.
        trials: Trials per arm.
        epochs: Epochs of every run.
        seeds: Seeds of the finals.
        imported: The files of imported code.

    Raises:
        ValueError: One line: file, key, what is wrong and what is allowed.
    """
    table = _table(path)
    table.setdefault("name", path.stem)
    return _read(table, str(path), _budget(trials, epochs, seeds), imported)


def read_study(
    study: str | Mapping[str, Any],
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    imported: Sequence[ImportedFile] = (),
) -> StudySpec:
    """Read a study by its name, the path of its file, or its table: see `read_study_file`.

    Raises:
        ValueError: One line: where, key, what is wrong and what is allowed.
    """
    if isinstance(study, str):
        path = find_study_file(study)
        return read_study_file(path, trials=trials, epochs=epochs, seeds=seeds, imported=imported)
    return _read(deepcopy(dict(study)), "study", _budget(trials, epochs, seeds), imported)


def _budget(trials: int | None, epochs: int | None, seeds: int | None) -> dict[str, int]:
    numbers = {"trials": trials, "epochs": epochs, "seeds": seeds}
    return {key: value for key, value in numbers.items() if value is not None}


def _read(
    table: dict[str, Any], where: str, replacements: dict[str, int], imported: Sequence[ImportedFile]
) -> StudySpec:
    """The study of a table, with these numbers in its budget."""
    if replacements and isinstance(table.setdefault("budget", {}), dict):
        table["budget"] |= replacements
    if (key := _too_large(table)) is not None:
        raise ValueError(printable(f"{where}: {key}: whole numbers are at most {_MAX_INTEGER}"))
    if IMPORTED in table:
        raise ValueError(f"{where}: {IMPORTED}: unknown key; code is named by the flag --import alone")
    if imported:
        table[IMPORTED] = [file.model_dump() for file in imported]
    return parse(table, where)


def _table(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(printable(f"{path}: a study file has at most {MAX_BYTES} bytes"))
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(printable(f"{path}: is UTF-16: save it as UTF-8"))
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors write a byte order mark
    except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no UTF-8
        raise ValueError(printable(f"{path}: not valid TOML: {error}")) from None


def _too_large(table: dict[str, Any]) -> str | None:
    """The key of an integer beyond _MAX_INTEGER; None if there is none."""
    entries: list[tuple[str, object]] = [*table.items()]
    while entries:
        key, value = entries.pop()
        match value:
            case dict():
                entries += ((f"{key}.{name}", entry) for name, entry in value.items())
            case list():
                entries += ((key, entry) for entry in value)
            case int() if abs(value) > _MAX_INTEGER:
                return key
    return None


def parse(table: dict[str, Any], where: str) -> StudySpec:
    """The study that a table describes; errors start with `where`.

    Raises:
        ValueError: One line: where, key, what is wrong and what is allowed.
    """
    try:
        return StudySpec.model_validate(table)
    except ValidationError as error:
        section = error.errors()[0]["loc"][:1]
        model = SECTIONS.get(str(section[0]), StudySpec) if section else StudySpec
        is_top_level = len(error.errors()[0]["loc"]) == 1
        problem = first_error(error, StudySpec if is_top_level else model)
        raise ValueError(printable(f"{where}: {problem}")) from None


def parse_stored(table: dict[str, Any], where: str) -> StudySpec:
    """A study that lpstudy has stored; its imported code need not be at hand.

    Raises:
        ValueError: As `parse`.
    """
    try:
        declare(table)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return parse(table, where)
