"""Study files: found by name or path, read as TOML, refused in one line."""

import codecs
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lpstudy.data import DataSpec
from lpstudy.space.imported_code import ImportedFile, declare
from lpstudy.space.ranges import first_error
from lpstudy.space.student_space import StudentSpace
from lpstudy.space.study_spec import NAME, Budget, Constraints, StudySpec
from lpstudy.space.teacher_spec import TeacherSpec
from lpstudy.space.training import Training
from lpstudy.terminal import printable

FOLDER = "search_spaces"
IMPORTED = "imported"
"""Key of a stored study that no study file has."""
LARGEST = 1 << 20
"""Bytes of a study file; of a larger one no more is read."""
_LARGEST_INTEGER = 2**63 - 1
"""What the ledger's database holds."""
SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSpec,
    "teacher": TeacherSpec,
    "students": StudentSpace,
    "training": Training,
    "budget": Budget,
    "constraints": Constraints,
}


def folders() -> tuple[Path, ...]:
    """Where study files are looked for: the working directory's folder, then the package's."""
    package = Path(__file__).resolve().parents[1]
    return Path(FOLDER), package / FOLDER, package.parent / FOLDER


def known_studies() -> tuple[str, ...]:
    """The names of all study files that can be found."""
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
    """The study of a file, its budget overridden where a number is given.

    Args:
        path: The study file.
        trials: Trials per arm.
        epochs: Epochs of every run.
        seeds: Seeds of the finals.
        imported: The code of one's own that is loaded.

    Raises:
        ValueError: One line: file, key, what is wrong and what is allowed.
    """
    table = _table(path)
    budget = {"trials": trials, "epochs": epochs, "seeds": seeds}
    given = {key: value for key, value in budget.items() if value is not None}
    if given and isinstance(table.setdefault("budget", {}), dict):
        table["budget"] |= given
    if (key := _too_large(table)) is not None:
        raise ValueError(printable(f"{path}: {key}: whole numbers are at most {_LARGEST_INTEGER}"))
    if IMPORTED in table:
        raise ValueError(f"{path}: {IMPORTED}: unknown key; code is named by the flag --import alone")
    if imported:
        table[IMPORTED] = [file.model_dump() for file in imported]
    table.setdefault("name", path.stem)
    return parse(table, str(path))


def _table(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(printable(f"{path}: a study file has at most {LARGEST} bytes"))
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(printable(f"{path}: is UTF-16: save it as UTF-8"))
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors write a byte order mark
    except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no UTF-8
        raise ValueError(printable(f"{path}: not valid TOML: {error}")) from None


def _too_large(table: dict[str, Any]) -> str | None:
    """The key of a whole number that no database holds; None where there is none."""
    left: list[tuple[str, object]] = [*table.items()]
    while left:
        key, value = left.pop()
        match value:
            case dict():
                left += ((f"{key}.{name}", entry) for name, entry in value.items())
            case list():
                left += ((key, entry) for entry in value)
            case int() if abs(value) > _LARGEST_INTEGER:
                return key
    return None


def parse(table: dict[str, Any], where: str) -> StudySpec:
    """A study from its table; `where` begins the error line.

    Raises:
        ValueError: One line: where, key, what is wrong and what is allowed.
    """
    try:
        return StudySpec.model_validate(table)
    except ValidationError as error:
        section = error.errors()[0]["loc"][:1]
        model = SECTIONS.get(str(section[0]), StudySpec) if section else StudySpec
        unknown_here = len(error.errors()[0]["loc"]) == 1
        told = first_error(error, StudySpec if unknown_here else model)
        raise ValueError(printable(f"{where}: {told}")) from None


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


def changed_settings(old: StudySpec, new: StudySpec) -> list[str]:
    """What differs between two studies, one line a key; but for the budget that may be raised, and code."""
    before, after = (_flat(one.model_dump(mode="json", exclude={IMPORTED})) for one in (old, new))
    free = {"budget.trials", "budget.seeds", "budget.hours"}
    keys = sorted((before.keys() | after.keys()) - free)
    return [
        f"{key}: {before.get(key, 'nothing')} -> {after.get(key, 'nothing')}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if value in ({}, []):
        return {prefix: "with its defaults"}
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = {str(i): entry for i, entry in enumerate(value)}.items()
    else:
        return {prefix: value}
    return {
        k: v for key, entry in items for k, v in _flat(entry, f"{prefix}.{key}" if prefix else key).items()
    }
