"""The notebook runs from its first cell to its last, in a kernel of its own."""

import re
from pathlib import Path

import nbformat
from commands import ROOT
from nbclient import NotebookClient


def test_the_notebook_runs_and_shows_its_results(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "examples/digits.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    texts = {
        cell.source: "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert all(texts.values())
    assert "'finished; 52 of 52 runs'" in texts["study.run()\nstudy.status().summary()"]
    assert "52/52 runs |" in texts["study.run()\nstudy.status().summary()"]  # the bar of a notebook
    printed = "".join(output.text for output in notebook.cells[-1].outputs if output.get("name") == "stdout")
    epochs = re.findall(r"^(\d) (\d+\.\d) \d", printed, re.MULTILINE)
    assert [epoch for epoch, _ in epochs] == ["1", "2", "3", "4", "5"]
    assert float(epochs[-1][1]) > 50
    assert (tmp_path / "reports/notebook/report.md").is_file()
