"""Code of one's own: run once in a process, refused in one line, known to a study by its hash."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from imports import no_imported_code

from lpstudy.command.study_file import EXAMPLE
from lpstudy.ledger import Ledger, dump
from lpstudy.methods import METHODS
from lpstudy.methods.declaration import StandIn
from lpstudy.space import ImportedCode, changed_settings, import_files, parse, parse_stored, read_study_file
from lpstudy.space import imported_code as module
from lpstudy.students.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
METHOD = """
from typing import ClassVar, Literal
from lpstudy.diagnostic import Diagnostic
from lpstudy.methods import Distillation, Needs, cross_entropy

class Plain(Distillation):
    \"\"\"CE under another name.\"\"\"
    method: Literal["plain"] = "plain"
    diagnostics = (Diagnostic("gap", "gap", "nats"),)
    factor: float = 2.0
    steps: int = 3
    mode: Literal["a", "b"] = "a"
    hint: str | None = None
    layers: tuple[str, ...] = ("conv1",)

    def teacher_needs(self):
        return Needs()

    def loss(self, step):
        return cross_entropy(step)
"""
NETWORK = """
from lpstudy.students import build as build_network, StudentSpec, register_family

def build(spec, *, input_shape, classes):
    if spec.width is None:
        raise ValueError("family thin needs a width")
    inner = StudentSpec(family="convnet", depth=1, width=spec.width)
    return build_network(inner, input_shape=input_shape, classes=classes, seed=5)

register_family("thin", build)
"""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with no_imported_code():
        yield


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def spec_table(**changes: object) -> dict[str, Any]:
    network = {"family": "convnet", "depth": 2, "width": 2}
    table: dict[str, Any] = {
        "name": "s",
        "data": {"kind": "digits"},
        "teacher": network,
        "students": [network],
    }
    return table | {"methods": {"bp": {}}} | changes


def forget() -> None:
    """Turn this process into one that has not run the code."""
    del METHODS["plain"]
    module._LOADED.clear()


def test_a_file_adds_its_methods_under_their_names(tmp_path: Path) -> None:
    (code,) = import_files([write(tmp_path, METHOD)])
    assert METHODS["plain"].__name__ == "Plain"
    file = code.load()
    assert (file.name, file.sha256, [one.name for one in file.methods]) == ("mine.py", code.sha256, ["plain"])
    assert METHODS["plain"].__module__ not in ("mine", "__main__")


def test_it_runs_once_however_often_it_is_loaded(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    (code,) = import_files([write(tmp_path, f"open({str(marks)!r}, 'a').write('x')\n")])
    code.load()
    ImportedCode.model_validate_json(code.model_dump_json()).load()
    assert marks.read_text() == "x"


def test_a_package_has_files_that_import_each_other(tmp_path: Path) -> None:
    write(tmp_path, METHOD, "pack/inner.py")
    path = write(tmp_path, "from .inner import Plain\n", "pack/__init__.py")
    (code,) = import_files([path.parent])
    assert sorted(code.sources) == ["__init__.py", "inner.py"]
    assert METHODS["plain"].__module__.endswith("pack.inner")


def test_the_hash_is_of_names_and_texts_and_not_of_the_folder(tmp_path: Path) -> None:
    first = module.read_imported_code(write(tmp_path, METHOD, "a/mine.py"))
    second = module.read_imported_code(write(tmp_path, METHOD, "b/mine.py"))
    assert first == second
    assert module.read_imported_code(write(tmp_path, METHOD + "\n", "b/mine.py")).sha256 != first.sha256
    assert module.read_imported_code(write(tmp_path, METHOD, "b/yours.py")).sha256 != first.sha256


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n1 / 0\n", "mine.py:2: ZeroDivisionError: division by zero"),
        ("def f():\n    raise OSError('no\\nroom')\n\nf()\n", "mine.py:2: OSError: no room"),
        ("x = (\n", r"mine.py:1: SyntaxError: '\(' was never closed"),
        ("import torchh\n", "mine.py:1: ModuleNotFoundError: No module named 'torchh'"),
        ("import torch\ntorch.zeros(2) @ torch.zeros(3)\n", "mine.py:2: RuntimeError: "),
        ("import sys\nsys.exit(3)\n", "mine.py:2: SystemExit: 3"),
        (METHOD.replace('"plain"', '"kd"'), "mine.py: Plain: the method 'kd' exists already; choose another"),
        (METHOD.replace("factor: float = 2.0", "factor: float"), r"mine.py: Plain\.factor: needs a default"),
        (
            METHOD.replace("factor: float = 2.0", "factor: list = [1]"),
            r"mine.py: Plain\.factor: must be an int, float, bool, str, a Literal of strings or tuple\[str",
        ),
        (
            METHOD.replace(': Literal["plain"] = "plain"', ': Literal["a b"] = "a b"'),
            "needs a name, a letter",
        ),
        (NETWORK.replace('"thin", build', '"wrn", build'), "mine.py:10: ValueError: the family 'wrn' exists"),
    ],
)
def test_what_is_wrong_is_reported_in_one_line_and_nothing_stays(
    tmp_path: Path, text: str, words: str
) -> None:
    known = set(METHODS), set(FAMILIES)
    with pytest.raises(ValueError, match=words) as caught:
        import_files([write(tmp_path, text)])
    assert "\n" not in str(caught.value)
    assert (set(METHODS), set(FAMILIES)) == known


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.py", "must be a .py file or a folder with __init__.py"),
        ("mine.txt", "must be a .py file or a folder with __init__.py"),
        ("my-code.py", "must be letters, digits and _"),
        ("empty", "has no __init__.py"),
    ],
)
def test_other_paths_are_refused(tmp_path: Path, name: str, words: str) -> None:
    write(tmp_path, "", "mine.txt"), write(tmp_path, "", "my-code.py"), (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=words):
        import_files([tmp_path / name])


def test_two_of_one_name_and_too_long_files_are_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path, "", "a/mine.py"), write(tmp_path, "", "b/mine.py")
    with pytest.raises(ValueError, match="--import mine: is given twice"):
        import_files([one, two])
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        import_files([write(tmp_path, "#" * (module.MAX_BYTES + 1))])


def test_another_version_in_one_process_is_refused(tmp_path: Path) -> None:
    import_files([write(tmp_path, "x = 1\n")])
    with pytest.raises(ValueError, match=r"mine\.py: another version of it is loaded"):
        import_files([write(tmp_path, "x = 2\n")])


def test_a_study_names_the_code_by_hash_and_a_study_file_cannot(tmp_path: Path) -> None:
    (code,) = import_files([write(tmp_path, METHOD)])
    path = tmp_path / "s.toml"
    path.write_text(EXAMPLE + "\n[methods.plain]\nlayers = ['conv2']\n")
    spec = read_study_file(path, imported=[code.load()])
    assert dump(spec)["imported"][0]["sha256"] == code.sha256
    assert "imported" not in dump(read_study_file(path))
    path.write_text(f"imported = []\n{EXAMPLE}")
    with pytest.raises(ValueError, match="imported: unknown key; code is named by the flag --import alone"):
        read_study_file(path)


def test_a_stored_study_is_read_without_its_code(tmp_path: Path) -> None:
    (code,) = import_files([write(tmp_path, METHOD), write(tmp_path, NETWORK, "net.py")][:1])
    methods = {"plain": {"steps": {"low": 1, "high": 4}, "layers": ["conv2", "conv1"]}}
    table = spec_table(methods=methods, imported=[code.load().model_dump()])
    spec = parse(table, "study")
    with_code = spec.arms()[0]
    stored = json.loads(json.dumps(dump(spec)))
    forget()
    with pytest.raises(ValueError, match=r"plain: unknown method; known are .* --import FILE"):
        parse(stored, "study")
    read = parse_stored(stored, "study")
    (arm,) = read.arms()
    assert issubclass(METHODS["plain"], StandIn)
    assert (arm.fixed, arm.searched, arm.points) == (with_code.fixed, with_code.searched, 4)
    assert arm.integer("steps")
    assert [one.head for one in arm.diagnostics] == ["gap (nats)"]
    method = arm.resolve({"steps": 2}, epochs=1, seed=0).method
    with pytest.raises(ValueError, match="the code of method 'plain' is not imported: give --import FILE"):
        method.teacher_needs()
    module.load_all((code,))
    assert METHODS["plain"].__name__ == "Plain"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x.py"},
        {"methods": [{"name": "z", "fields": {"model_config": {"kind": "string", "default": ""}}}]},
        {"methods": [{"name": "z", "fields": {"loss": {"kind": "string", "default": ""}}}]},
        {"methods": [{"name": "z", "fields": {"a-b": {"kind": "string", "default": ""}}}]},
        {"methods": 3},
        {"sha256": "x"},
        {"source": "print(1)"},
    ],
)
def test_a_damaged_declaration_is_refused(change: dict[str, object]) -> None:
    entry = {"name": "mine.py", "sha256": "0" * 64} | change
    with pytest.raises(ValueError, match=r"\Aledger: imported: |is no name of a hyperparameter"):
        parse_stored(spec_table(imported=[entry]), "ledger")


def test_a_study_that_was_started_with_other_code_is_refused_by_name(tmp_path: Path) -> None:
    (code,) = import_files([write(tmp_path, METHOD)])
    file = code.load()
    methods: dict[str, object] = {"methods": {"plain": {}}}
    shape: dict[str, Any] = {"input_shape": (1, 8, 8), "classes": 10}
    url = f"sqlite:///{tmp_path}/ledger.db"
    spec = parse(spec_table(imported=[file.model_dump()], **methods), "study")
    Ledger(url, spec, **shape).check_unchanged("content")
    Ledger(url, spec, **shape).check_unchanged("content")
    other = file.model_copy(update={"sha256": "f" * 64})
    changed = parse(spec_table(imported=[other.model_dump()], **methods), "study")
    assert changed_settings(spec, changed) == []
    words = rf"started with other imported code \(mine\.py {file.sha256[:16]} -> mine\.py f{{16}}\); restore"
    with pytest.raises(ValueError, match=words):
        Ledger(url, changed, **shape).check_unchanged("content")
