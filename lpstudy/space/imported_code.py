"""A user's own methods, networks and data: Python source that a flag names, run once in each process.

The study file never names code: opening one runs nothing. What is stored of the code is its hash and what
it declares, so that a study is shown without it (`declare`), but trained only with it (`ImportedCode.load`).
"""

import hashlib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import isabstract
from pathlib import Path
from types import CodeType, ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lpstudy.data import declare_kind
from lpstudy.data.registry import LOADERS
from lpstudy.imported_names import add_module, declare_module
from lpstudy.methods import (
    METHODS,
    Distillation,
    MethodDeclaration,
    declaration_of,
    declare_method,
    reductions,
    register_method,
)
from lpstudy.one_line import one_line
from lpstudy.students import declare_family
from lpstudy.students.families import CODE, FAMILIES
from lpstudy.user_lines import PREFIX, user_line

MAX_BYTES = 1 << 20
"""Bytes of the source of one file or package; it travels with every run."""
_LOADED: dict[str, "ImportedFile"] = {}
"""The code that this process has run, by module."""


class ImportedFile(BaseModel):
    """What a study stores of imported code: its hash and the names that it adds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.py)?$", max_length=80)]
    """The file's or the package folder's name, without where it is."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    methods: tuple[MethodDeclaration, ...] = ()
    families: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """Data sets."""


class ImportedCode(BaseModel):
    """The source of a file or a package; sent to all processes of a study as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """See `ImportedFile`."""
    sources: dict[str, str]
    """The text of each file, by its path within the package; of a single file, by its name."""

    @property
    def sha256(self) -> str:
        """SHA-256 of names and texts, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.sources, sort_keys=True).encode()).hexdigest()

    def load(self) -> ImportedFile:
        """Run the code, once in a process, and register its methods; it registers networks and data itself.

        Raises:
            ValueError: One line, with the file and its line: the code fails, or a name in it is taken.
        """
        module = PREFIX + self.name.removesuffix(".py")
        if module in _LOADED:
            if _LOADED[module].sha256 != self.sha256:
                raise ValueError(f"{self.name}: another version of it is loaded in this process")
            return _LOADED[module]
        tables: tuple[dict[str, Any], ...] = (METHODS, FAMILIES, LOADERS, reductions.REDUCTIONS)
        before = [set(table) for table in tables]
        finder = _Finder(module, self)
        sys.meta_path.append(finder)
        try:
            models = self._run(module)
            add_module(self.name, self.sha256)
        except ValueError:
            sys.meta_path.remove(finder)
            for table, names in zip(tables, before, strict=True):
                for name in table.keys() - names:
                    del table[name]
            for name in [name for name in sys.modules if _belongs(name, module)]:
                del sys.modules[name]
            raise
        families = tuple(name for name in FAMILIES if name not in before[1])
        kinds = tuple(name for name in LOADERS if name not in before[2])
        CODE.update(dict.fromkeys(families, self.sha256))
        new_reductions = reductions.REDUCTIONS.keys() - before[3]
        reductions.CODE.update(dict.fromkeys(new_reductions, self.sha256))
        methods = tuple(declaration_of(model) for model in models)
        _LOADED[module] = ImportedFile(
            name=self.name, sha256=self.sha256, methods=methods, families=families, kinds=kinds
        )
        return _LOADED[module]

    def _run(self, module: str) -> list[type[Distillation]]:
        """Import the module and register its methods, which are returned; raises as `load`."""
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise ValueError(self._where(error)) from error
        models = [model for model in _subclasses(Distillation) if _is_defined_in(model, module)]
        for model in models:
            try:
                register_method(model)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from None
        return models

    def _where(self, error: BaseException) -> str:
        """The error with the file and line of this code at which it arose."""
        if isinstance(error, SyntaxError) and error.filename is not None:
            return f"{error.filename}:{error.lineno}: {type(error).__name__}: {one_line(error.msg)}"
        return f"{user_line(error) or self.name}: {type(error).__name__}: {one_line(error)}"


def read_imported_code(path: Path) -> ImportedCode:
    """The source of a .py file, or of all .py files of a package's folder.

    Raises:
        ValueError: One line: it is no such file or folder, or too large.
    """
    is_package = path.is_dir()
    if not is_package and (path.suffix != ".py" or not path.is_file()):
        raise ValueError(f"{path}: must be a .py file or a folder with __init__.py")
    if is_package and not (path / "__init__.py").is_file():
        raise ValueError(f"{path}: has no __init__.py")
    name = path.resolve().name
    if not name.removesuffix(".py").isidentifier() or not name.isascii():
        raise ValueError(f"{path}: its name must be letters, digits and _, as a module's")
    files = sorted(path.rglob("*.py")) if is_package else [path]
    if sum(file.stat().st_size for file in files) > MAX_BYTES:
        raise ValueError(f"{path}: has more than {MAX_BYTES} bytes of source")
    root = path if is_package else path.parent
    try:
        sources = {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8: {error}") from None
    return ImportedCode(name=name, sources=sources)


def import_files(paths: Sequence[Path]) -> tuple[ImportedCode, ...]:
    """Read and run the code that flags name, in their order.

    Raises:
        ValueError: One line: see `read_imported_code` and `ImportedCode.load`; or two have one name.
        OSError: A file cannot be read.
    """
    codes = tuple(read_imported_code(path) for path in paths)
    names = [code.name.removesuffix(".py") for code in codes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--import {name}: is given twice")
    return load_all(codes)


def load_all(codes: tuple[ImportedCode, ...]) -> tuple[ImportedCode, ...]:
    """Run each code, once in a process; raises as `ImportedCode.load`."""
    for code in codes:
        code.load()
    return codes


LoadedCode = Annotated[tuple[ImportedCode, ...], AfterValidator(load_all)]
"""A field whose validation runs the code, so that the fields after it may name what it adds."""


def code_words(table: Mapping[str, Any]) -> str:
    """The imported code of a study's table, by names and hashes."""
    return ", ".join(_code_files(table)) or "none"


def changed_code(stored: Mapping[str, Any] | None, table: Mapping[str, Any]) -> str:
    """How imported code differs between a stored study and another one; empty where files were only added."""
    before, after = _code_files(stored or table), _code_files(table)
    return "" if {*before} <= {*after} else f"{code_words(stored or table)} -> {code_words(table)}"


def _code_files(table: Mapping[str, Any]) -> list[str]:
    return sorted(f"{file['name']} {file['sha256'][:16]}" for file in table.get("imported") or ())


def declare(table: Mapping[str, object]) -> None:
    """Let a stored study be read where its imported code is not: what it adds gets stand-ins.

    Args:
        table: The stored study's table.

    Raises:
        ValueError: What it says of the code is not as lpstudy writes it.
    """
    stored = table.get("imported") or ()
    if not isinstance(stored, list | tuple):
        raise ValueError("imported: must be a list")
    for entry in stored:
        try:
            file = ImportedFile.model_validate(entry)
        except ValidationError as error:
            raise ValueError(f"imported: {one_line(error.errors()[0]['msg'])}") from None
        declare_module(file.name, file.sha256)
        for method in file.methods:
            declare_method(method)
        for family in file.families:
            declare_family(family)
        for kind in file.kinds:
            declare_kind(kind)


class _Finder(MetaPathFinder, InspectLoader):
    """Finds the modules of one imported file or package in its source text."""

    def __init__(self, module: str, code: ImportedCode) -> None:
        self._module, self._code = module, code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if self._file(fullname) is None:
            return None
        spec = ModuleSpec(
            fullname, self, origin=self._display(fullname), is_package=self.is_package(fullname)
        )
        spec.has_location = True
        return spec

    def is_package(self, fullname: str) -> bool:
        return (self._file(fullname) or "").endswith("__init__.py")

    def get_source(self, fullname: str) -> str:
        file = self._file(fullname)
        if file is None:
            raise ImportError(f"{self._code.name} has no module {fullname}")
        return self._code.sources[file]

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_source(fullname), self._display(fullname))

    def _file(self, fullname: str) -> str | None:
        """The path of a module within the code; None where it is not part of it."""
        if not _belongs(fullname, self._module):
            return None
        inside = fullname.removeprefix(self._module).lstrip(".").replace(".", "/")
        names = [f"{inside}.py", f"{inside}/__init__.py"] if inside else [self._code.name, "__init__.py"]
        return next((name for name in names if name in self._code.sources), None)

    def _display(self, fullname: str) -> str:
        """The file in messages: a single file's name, or package/file.py."""
        file = self._file(fullname) or ""
        return file if self._code.name.endswith(".py") else f"{self._code.name}/{file}"


def _belongs(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _is_defined_in(model: type, module: str) -> bool:
    """Whether a class stands at the top of one of the code's modules; one of a failed import does not."""
    own = sys.modules.get(model.__module__)
    return _belongs(model.__module__, module) and getattr(own, model.__name__, None) is model


def _subclasses(parent: type) -> Iterator[type[Distillation]]:
    """All subclasses that are not abstract, in the order of their definition."""
    model: type[Distillation]
    for model in parent.__subclasses__():
        if not isabstract(model):
            yield model
        yield from _subclasses(model)
