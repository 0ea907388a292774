"""Commands that show a study's progress import no package that takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, environment

from lpstudy.ledger import Lease, Ledger, ledger_file_url
from lpstudy.space import parse

HEAVY = {
    "torch",
    "ray",
    "mlflow",
    "torchvision",
    "pandas",
    "scipy",
    "matplotlib",
    "sklearn",
    "pyarrow",
    "PIL",
}
HEAVY |= {"alembic", "sqlalchemy.orm", "jinja2", "requests"}
"""Of Optuna the package is imported, but neither its database storage's ORM nor its migrations."""
SPACE = {
    "name": "held",
    "data": {"kind": "digits"},
    "teacher": {"family": "convnet", "depth": 2, "width": 4},
    "students": [{"family": "convnet", "depth": 2, "width": 4}],
    "methods": {"bp": {}},
}
PROGRAM = """
import contextlib, io, json, sys
from lpstudy.__main__ import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
    try:
        code = main()
    except SystemExit as left:
        code = left.code
print(json.dumps([code, out.getvalue() + err.getvalue(), list(sys.modules)]))
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    (folder / "held").mkdir()
    ledger = Ledger(ledger_file_url(folder / "held"), parse(SPACE, "here"), input_shape=(1, 8, 8), classes=10)
    ledger.check_unchanged("images")
    lease = Lease(ledger.engine, "held")
    lease.acquire()
    lease.release({"state": "paused"})
    return folder


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("--help", 0, "usage: lpstudy"),
        ("list --help", 0, "List the studies"),
        ("cancel --help", 0, "End the running trials at once"),
        ("list --storage STORAGE", 0, "held: paused"),
        ("status held --storage STORAGE", 0, "bp-convnet-d2-w4"),
        *(
            (f"{command} held --storage STORAGE", 1, "no process runs")
            for command in ("pause", "resume", "stop")
        ),
    ],
)
def test_what_a_command_imports(line: str, code: int, says: str, storage: Path) -> None:
    words = line.replace("STORAGE", str(storage)).split()
    program = [sys.executable, "-c", PROGRAM, *words]
    result = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, env=environment(), check=True)
    exit_code, output, modules = json.loads(result.stdout)
    assert (exit_code, says in output) == (code, True), output
    assert HEAVY & set(modules) == set()
