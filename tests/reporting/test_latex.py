"""comparison.tex: the report's first table for LaTeX."""

import re
import shutil
import subprocess

import pytest

from lpstudy.rendering.latex import latex_table
from lpstudy.rendering.report_files import report_text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_sets_the_table(make_frames, tmp_path):
    frames = make_frames(methods=("bp", "kd", "lp_kd"), seeds=3, trials=3)
    frames.runs["student"] = (
        frames.runs["student"] + r" \input{x} & 5 % $x$ #1 _a ^b ~c {d} [e] <f> \"g\" `h`"
    )
    (tmp_path / "comparison.tex").write_text(latex_table(report_text(frames.results, (), links=str)))
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
        r"\begin{document}\input{comparison}\end{document}"
    )
    command = [
        "pdflatex",
        "-draftmode",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "paper",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-1000:]
    assert "Warning" not in done.stdout


def test_the_table_for_latex_has_every_row_and_no_foreign_command(make_frames):
    frames = make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",), seeds=3, trials=3)
    frames.runs["student"] = r"\input{/etc/passwd} & 5 % $x$ #1 _a ^b ~c {d}"
    text = latex_table(report_text(frames.results, (), links=str))
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].strip().split("\n")
    columns = len(re.search(r"tabular\}\{(\w+)\}", text)[1])
    assert len(body) == 3
    for line in body:
        assert line.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", line)) == columns - 1
        assert not re.search(r"(?<!\\)[%#_]", line)
        commands = {*re.findall(r"\\([a-z]+)", line)}
        assert commands <= {
            *[
                "textbackslash",
                "texttt",
                "textbf",
                "pm",
                "times",
                "ldots",
                "textasciitilde",
                "textasciicircum",
            ],
        }
    assert r"\textbackslash{}input\{" in body[1]
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
