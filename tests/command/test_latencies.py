"""Latency is measured: a limit is judged before training, and the report shows what was timed."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from commands import CommandResult, call, error_line, records, write_study

from lpstudy import plan, reconcile, sweep
from lpstudy.command.latencies import design_latencies
from lpstudy.data import load
from lpstudy.latency_row import LatencyRow
from lpstudy.ledger import DESIGN_LATENCIES, LATENCY, ledger_file_url, read_ledger
from lpstudy.space import read_study
from lpstudy.tables.latency import LatencyFacts, RankChange, rank_changes

WIDTHS = ("width = 2\n", "width = { choices = [2, 448, 512] }\n")
TRIALS = ("trials = 1\n", "trials = 4\n")


def with_limit(folder: Path, limit: float) -> Path:
    """The tiny study with three widths, a limit and two targets."""
    path = write_study(folder, WIDTHS, TRIALS)
    tables = f'[constraints]\nmax_latency_ms = {limit!r}\n[cost]\nlatency = ["cpu-1", "cpu-n"]\n'
    path.write_text(f"{path.read_text()}\n{tables}")
    return path


def run(folder: Path, *args: str) -> CommandResult:
    return call(sweep.main, folder, "tiny.toml", "--in-process", *args)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study whose limit lies between the latencies of its designs."""
    folder = tmp_path_factory.mktemp("latency")
    spec = read_study(str(with_limit(folder, 1.0)))
    times = design_latencies(spec, load(spec.data))
    small, large = times["convnet-d2-w2"], times["convnet-d2-w448"]
    assert small < large / 4
    with_limit(folder, (small * large) ** 0.5)
    result = run(folder)
    assert result.code == 0, result.err
    assert "latency: measuring 3 designs on cpu-1" in result.err
    return folder


def test_designs_over_the_limit_are_not_trained(finished: Path) -> None:
    everything = records(finished, "tiny")
    trained = [one for one in everything if one.state == "finished"]
    assert {one.assignment.values["width"] for one in trained} == {2}
    beyond = [one for one in everything if one.state == "infeasible"]
    assert {one.assignment.values["width"] for one in beyond} <= {448, 512}
    assert beyond
    assert all(not one.epochs for one in beyond)


def test_the_figures_are_measured_once(finished: Path) -> None:
    def facts() -> list[object]:
        reader = read_ledger(ledger_file_url(finished / "studies/tiny"), "tiny")
        return [reader.facts[DESIGN_LATENCIES], reader.facts[LATENCY]]

    before = facts()
    result = run(finished, "--seeds", "2")
    assert result.code == 0, result.err
    assert "latency" not in result.err
    assert facts() == before


def test_the_report_has_medians_machine_and_ranking(finished: Path) -> None:
    text = (finished / "reports/tiny/report.md").read_text()
    section = text.partition("## Latency")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(teacher|convnet-d2-w2)` \| (.+) \|$", section, re.MULTILINE)
    assert [name for name, _ in rows] == ["teacher", "convnet-d2-w2"]
    cells = [cell for _, row in rows for cell in row.split(" | ")]
    assert len(cells) == 2 * 2 * 2 * 2  # networks, targets, batches, runtimes
    for cell in cells:
        numbers = re.fullmatch(r"(\S+)\s\((\S+)\)", cell)
        assert numbers, cell
        median, percentile = map(float, numbers.groups())
        assert 0 < median <= percentile
    assert "cpu-1, 1 × onnxruntime" in section
    assert re.search(r"\d+ cores, Linux .*torch .*onnxruntime", section)


def test_the_comparison_has_the_single_image(finished: Path) -> None:
    table = pd.read_csv(finished / "reports/tiny/comparison.csv")
    assert list(table["latency_target"]) == ["cpu-1", "cpu-1"]
    stored = read_ledger(ledger_file_url(finished / "studies/tiny"), "tiny").facts[LATENCY]["rows"]
    figures = {
        row["model"]: row["median_ms"]
        for row in stored
        if (row["target"], row["batch"], row["runtime"]) == ("cpu-1", 1, "onnxruntime")
    }
    assert list(table["latency_ms"]) == pytest.approx([figures["teacher"], figures["convnet-d2-w2"]])
    checked = call(reconcile.main, finished, "tiny", "--check")
    assert checked.code == 0, checked


@pytest.mark.parametrize("command", [plan.main, run])
def test_a_limit_that_no_design_keeps_is_bad_input(command: object, tmp_path: Path) -> None:
    with_limit(tmp_path, 1e-5)
    result = call(plan.main, tmp_path, "tiny.toml") if command is plan.main else run(tmp_path)
    assert result.code == 2, result
    line = result.err.splitlines()[-1]
    assert re.search(
        r"students: convnet: no design is within \[constraints\] max_latency_ms = 1e-05; the fastest"
        r" takes 0\.\d+ ms",
        line,
    ), line
    assert not list((tmp_path / "studies").glob("*/runs/*"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            [("[budget]", '[cost]\nlatency = ["cuda"]\n[budget]')],
            "[cost] latency: cuda is given, but torch sees no GPU",
        ),
        ([("[budget]", '[cost]\nlatency = ["gpu"]\n[budget]')], "latency"),
        ([("[budget]", '[cost]\nlatency = ["cpu-1", "cpu-1"]\n[budget]')], "names a target twice"),
        (
            [
                ("width = 2\n", "width = { low = 2, high = 99 }\n"),
                ("[budget]", "[constraints]\nmax_latency_ms = 1.0\n[budget]"),
            ],
            "max_latency_ms: 98 designs would be measured, at most 64",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    changes: list[tuple[str, str]], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_study(tmp_path, *changes)
    result = call(plan.main, tmp_path, "tiny.toml", "--untimed")
    assert result.code == 2
    assert says in error_line(result)


def test_a_missing_package_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    write_study(tmp_path, ("[budget]", '[cost]\nlatency = ["cpu-1"]\n[budget]'))
    result = run(tmp_path)
    assert result.code == 2
    assert "onnxruntime, which is not installed: pip install 'lpstudy[deploy]'" in error_line(result)
    assert not (tmp_path / "studies/tiny").exists()


def facts_of(**milliseconds: float) -> LatencyFacts:
    rows = tuple(
        LatencyRow(name, "onnxruntime", "cpu-1", 1, 1, median, median, 30)
        for name, median in milliseconds.items()
    )
    return LatencyFacts("a machine", rows)


def test_students_are_ranked_differently_where_fewer_macs_take_longer() -> None:
    macs = {"wide": 8e6, "deep": 4e6, "tiny": 1e6}
    changes = rank_changes(facts_of(wide=1.0, deep=3.0, tiny=2.0), macs)
    assert changes == [
        RankChange("deep", "wide", 0.5, 3.0),
        RankChange("tiny", "wide", 0.125, 2.0),
    ]
    assert rank_changes(facts_of(wide=1.0, deep=1.05, tiny=0.5), macs) == []  # within the noise of a machine
    assert rank_changes(facts_of(wide=1.0), macs) == []
