"""No code of lpstudy can execute the content of a file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lpstudy

PACKAGE = Path(lpstudy.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "code",
    "ctypes",
}  # fmt: skip
"""Modules that execute code; the attribute `code` is allowed, since gRPC's errors have such a method."""
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    ("torch", "load"), ("torch", "package"), ("torch.jit", "load"), ("torch.hub", "load"), ("os", "system"),
    ("os", "popen"), ("pd", "read_pickle"), ("pandas", "read_pickle"),
    ("mlflow.pyfunc", "load_model"), ("mlflow.pytorch", "load_model"), ("tune.Tuner", "restore"),
}  # fmt: skip


def _restricted_load(node: ast.AST) -> list[ast.AST]:
    """The parts that are allowed in `torch.load(..., weights_only=True)`: torch's restricted unpickler."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load") as name, keywords=given):
            chosen = [one for one in given if one.arg == "weights_only"]
            is_true = [
                one for one in chosen if isinstance(one.value, ast.Constant) and one.value.value is True
            ]
            others = {one.arg for one in given} - {"weights_only", "map_location"}
            return [name, *is_true] if is_true and not others else []
    return []


def unsafe_calls(source: str) -> Iterator[str]:
    """The forbidden calls, with their lines."""
    nodes = list(ast.walk(ast.parse(source)))
    restricted = {id(part) for node in nodes for part in _restricted_load(node)}
    for node in nodes:
        match node:
            case _ if id(node) in restricted:
                bad = []
            case ast.Import(names=names):
                bad = [alias.name for alias in names if alias.name.split(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module), names=names):
                bad = [module] if module.split(".")[0] in MODULES else []
                bad += [f"{module}.{alias.name}" for alias in names if (module, alias.name) in ATTRIBUTES]
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                bad = [name]
            case ast.Attribute(value=value, attr=name) if (ast.unparse(value), name) in ATTRIBUTES:
                bad = [ast.unparse(node)]
            case ast.Attribute(attr=name) if name in MODULES - {"code"}:  # torch.serialization.pickle, say
                bad = [ast.unparse(node)]
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="load"), keywords=given):
                values = {one.arg: getattr(one.value, "value", None) for one in given}
                bad = [] if values.get("allow_pickle") is False else ["np.load"]
            case ast.keyword(arg="allow_pickle" | "shell" as name, value=value):
                bad = [] if getattr(value, "value", None) is False else [f"{name}="]
            case ast.keyword(arg="weights_only"):
                bad = ["weights_only="]
            case _:
                bad = []
        yield from (f"line {getattr(node, 'lineno', 0)}: {name}" for name in bad)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_source_unpickles_or_evaluates(path: Path) -> None:
    assert list(unsafe_calls(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "import cloudpickle.cloudpickle",
        "import ray.cloudpickle\nray.cloudpickle.loads(x)", "import torch\ntorch.load(x)",
        "torch.load(x, weights_only=False)", "torch.load(x, weights_only=flag)", "from torch import load",
        "torch.load(x, weights_only=True, pickle_module=y)", "read(x, weights_only=True)",
        "torch.load(x, weights_only=True, **more)", "loads = torch.load",
        "torch.serialization.pickle.loads(x)",
        "np.load(x)", "np.load(x, allow_pickle=True)", "np.load(x, allow_pickle=flag)", "import yaml",
        "from joblib import load", "eval(x)", "def f():\n    exec(x)", "compile(x, y, z)", "__import__(x)",
        "pd.read_pickle(x)", "subprocess.run(x, shell=True)", "os.system(x)", "tune.Tuner.restore(x)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert list(unsafe_calls(source))


@pytest.mark.parametrize(
    "source",
    [
        "network.eval()", "np.load(x, allow_pickle=False)", "json.load(x)", "regex.compile(x)", "load(x)",
        'torch.load(x, map_location="cpu", weights_only=True)',
    ],
)  # fmt: skip
def test_the_search_leaves_what_is_harmless(source: str) -> None:
    assert list(unsafe_calls(source)) == []


def test_the_whole_package_is_searched() -> None:
    assert len(SOURCES) > 80


def test_torch_s_files_are_read_in_one_place() -> None:
    (path,) = (path for path in SOURCES if "torch.load(_" in path.read_text("utf-8"))
    assert path.name == "torch_file.py"
