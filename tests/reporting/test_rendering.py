import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from lpstudy.rendering import console_table, write_report
from lpstudy.rendering.answer import answer
from lpstudy.rendering.markdown import block, code, escape, link
from lpstudy.rendering.report import report_text
from lpstudy.tables import comparison, trials_table
from lpstudy.tables.arms import arm_results

HOSTILE = (
    "<script>alert(1)</script>",
    "a | b | c",
    "`code` ``",
    "[text](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "http://evil.example www.evil.example",
    "# heading",
    "- item",
    "1. item",
    "line\n\n# two",
    "**bold** _em_ ~~gone~~",
    "<!-- gone",
    "&lt;b&gt;",
    "\\` \\| \\",
    "{{ 7 * 7 }} {% raw %}",
    "$x$",
)
ALL_FIGURES = (
    "differences", "accuracy_over_macs", "accuracy_over_parameters", "pareto_fronts", "learning_curves",
    "search_history", "importance",
)  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)

    def handle_data(self, data):
        self.text += data


def rendered(markdown: str) -> Tags:
    parser = Tags()
    parser.feed(MarkdownIt("gfm-like", {"linkify": False}).render(markdown))
    return parser


def address(run: str) -> str:
    return f"http://127.0.0.1:5000/#/runs/{run}"


def write(folder, frames):
    return write_report(folder, frames.study, frames.runs, frames.curves, frames.importances, links=address)


def answered(frames) -> list[str]:
    return answer(frames.study.teacher, arm_results(frames.study, frames.runs))


def text_of(frames) -> str:
    return report_text(frames.study, frames.runs, frames.curves, ALL_FIGURES, links=address)


def set_differences(frames, name: str, differences: list[float]) -> None:
    """Makes the arm's test accuracies back-prop's of the same seeds plus the differences."""
    runs = frames.runs
    final = runs["kind"].eq("final")
    base = runs[final & runs["arm"].eq(f"bp-{name.split('-', 1)[1]}")].set_index("seed")["test_accuracy"]
    for seed, difference in enumerate(differences):
        runs.loc[final & runs["arm"].eq(name) & runs["seed"].eq(seed), "test_accuracy"] = (
            base[seed] + difference
        )


@pytest.fixture
def one(make_frames):
    """One student, three methods, five seeds."""
    return make_frames(methods=("bp", "kd", "lp"), students=("convnet-d4-w8",))


@pytest.fixture(scope="module")
def written(make_frames, tmp_path_factory):
    """The report of a study of two methods and two students, one trial of which warned of a file."""
    frames = make_frames(methods=("bp", "lp"))
    frames.runs.at[0, "warnings"] = ["cannot read /home/someone/data/x.png"]
    return frames, write(tmp_path_factory.mktemp("out") / "reports" / "mnist", frames)


def test_every_named_file_is_there_and_none_else(written):
    _, report = written
    text = report.markdown.read_text("utf-8")
    named = set(re.findall(r"\]\((figures/[a-z_]+\.png|[a-z]+\.csv)\)", text))
    there = {str(path.relative_to(report.markdown.parent)) for path in report.markdown.parent.rglob("*.*")}
    assert there == named | {"report.md"}
    assert {str(path.relative_to(report.markdown.parent)) for path in report.files} == there
    for path in report.files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width > 1000
                assert "Software" not in image.info  # no version: other releases give the same bytes


def test_report_has_every_part_that_the_issue_lists(frames):
    text = text_of(frames).replace("\u00a0", " ")
    for part in (
        "## Comparison", "auxiliary parameters", "training MACs", "teacher's share",
        "finished", "pruned", "failed",
        "accuracy_over_macs.png", "accuracy_over_parameters.png", "learning_curves.png", "importance.png",
        "search_history.png", "## Warnings", "collapse: 97 %", "## Provenance", "sha256 5f3a9c81d2",
        "9f2c41d07be1",
        "0a1b2c3d", "torch 2.15.0", "2 CPU cores", "python -m lpstudy.sweep mnist --trials 12",
        "Every arm's budget: trials per arm 12, epochs 20", "0.0001 to 0.1 (log)", "1 in each arm",
        "http://127.0.0.1:5000/#/runs/arm-kd-convnet-d4-w8",
    ):  # fmt: skip
        assert part in text, part


def test_report_names_no_folder_of_the_machine(written):
    _, report = written
    for path in report.files:
        if path.suffix != ".png":
            text = path.read_text("utf-8")
            assert "/home/" not in text
            assert str(report.markdown.parent.parent) not in text
    assert "--data-root …/data" in report.markdown.read_text("utf-8")


def test_same_frames_give_the_same_bytes(written, tmp_path):
    frames, first = written
    second = write(tmp_path, frames)
    for ours, theirs in zip(first.files, second.files, strict=True):
        assert ours.read_bytes() == theirs.read_bytes(), ours.name


def test_rewriting_removes_figures_that_are_no_longer_true_and_leaves_no_parts(tmp_path, one, make_frames):
    write(tmp_path, one)
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    report = write(tmp_path, make_frames(methods=("bp",), students=("convnet-d4-w8",), trials=0))
    left = {path.name for path in (tmp_path / "figures").iterdir()}
    assert left == {"mine.png", "importance.png"}
    assert "accuracy_over_macs.png" not in report.markdown.read_text("utf-8")
    assert not list(tmp_path.rglob("*.part"))


def test_folder_that_cannot_be_made_is_an_os_error(tmp_path, one):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file", one)


def test_failing_write_leaves_the_old_report_whole(tmp_path, one):
    report = tmp_path / "report.md"
    report.write_text("old")
    (tmp_path / "trials.csv").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match=r"trials\.csv"):
        write(tmp_path, one)
    assert report.read_text() == "old"
    assert not list(tmp_path.rglob("*.part"))


def test_comparison_csv_reads_back_as_the_comparison(written):
    frames, report = written
    read = pd.read_csv(report.markdown.with_name("comparison.csv"))
    table = comparison(frames.study, frames.runs)
    assert list(read.columns) == list(table.columns)
    np.testing.assert_allclose(read["delta_bp_low"], table["delta_bp_low"], rtol=1e-8)
    assert read["best_hyperparameters"].tolist() == table["best_hyperparameters"].tolist()


def test_gain_whose_interval_excludes_zero_is_stated_as_one(one):
    set_differences(one, "kd-convnet-d4-w8", [1.0, 1.2, 0.8, 1.1, 0.9])
    set_differences(one, "lp-convnet-d4-w8", [0.5, -0.5, 0.3, -0.3, 0.1])
    [text] = answered(one)
    assert "**`kd` is best**" in text
    assert "**+1.00 ± 0.20 points over plain back-prop** (95 % interval, paired over 5 seeds)" in text
    assert "Within noise of back-prop: `lp` (+0.02 ± 0.51)." in text


def test_gain_within_its_interval_is_called_noise(one):
    set_differences(one, "kd-convnet-d4-w8", [1.0, -0.9, 0.8, -0.6, 0.2])
    set_differences(one, "lp-convnet-d4-w8", [-1.0, -1.1, -0.9, -1.2, -0.8])
    [text] = answered(one)
    assert "**within noise**" in text
    assert "is best" not in text
    assert "Worse: `lp` (−1.00 ± 0.20)." in text


def test_back_prop_on_top_is_said_plainly(one):
    for name in ("kd-convnet-d4-w8", "lp-convnet-d4-w8"):
        set_differences(one, name, [-0.1, 0.05, -0.2, 0.02, -0.1])
    [text] = answered(one)
    assert "**no method beats plain back-prop**" in text


def test_lead_over_the_next_method_is_judged_too(one):
    set_differences(one, "kd-convnet-d4-w8", [1.0, 1.2, 0.8, 1.1, 0.9])
    set_differences(one, "lp-convnet-d4-w8", [1.2, 0.9, 0.9, 1.0, 0.8])
    [text] = answered(one)
    assert "**`kd` leads**" in text
    assert "Its lead over `lp`" in text
    assert "is within noise" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seeds": 1}, "this ranks nothing"),
        ({"trials": 0}, "No final has finished yet"),
        ({"methods": ("kd", "lp")}, "no `bp` to compare it with"),
        ({"methods": ("bp",)}, "only plain back-prop"),
    ],
)
def test_sparse_studies_are_reported_honestly(changes, expected, make_frames):
    frames = make_frames(students=("convnet-d4-w8",), **changes)
    text = text_of(frames)
    assert expected in text
    assert not re.search(r"\b(nan|none|<na>)\b", text.replace("\nNone.\n", ""), re.IGNORECASE)


def test_several_students_are_summed_first(frames, make_frames):
    first, *each = answered(frames)
    assert len(each) == 2
    assert first.startswith("Over 2 students, **better than plain back-prop beyond noise**")
    for arm in frames.study.arms:
        if arm.method != "bp":
            set_differences(frames, arm.name, [0.5, -0.5, 0.3, -0.3, 0.1])
    assert "No method is better than plain back-prop beyond noise" in answered(frames)[0]


def test_lost_finals_are_named(one):
    row = one.runs.index[one.runs["run_id"].eq("lp-convnet-d4-w8-f3")][0]
    one.runs.loc[row, ["state", "test_accuracy"]] = ["failed", np.nan]
    text = text_of(one)
    assert "Finals left out because they are failed: 1 of `lp` on `convnet-d4-w8`." in text


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_reads_as_it_was_and_makes_no_markup(text):
    for shown in (escape(text), code(text)):
        page = rendered(f"{shown}\n")
        assert set(page.seen) <= {"p", "code"}
        assert " ".join(page.text.split()) == " ".join(text.split())
        cell = rendered(f"| a | b |\n|---|---|\n| {shown} | end |\n")
        assert cell.seen.count("td") == 2
        assert set(cell.seen) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}


@pytest.mark.parametrize("text", HOSTILE)
def test_block_cannot_be_left(text):
    assert set(rendered(block(f"``` {text}")).seen) == {"pre", "code"}


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "file:///etc/passwd", "/home/x", "", "data:text/html,x", " http://x"]
)
def test_only_web_addresses_become_links(address):
    assert link("run", address) == "`run`"


def test_link_address_cannot_end_its_parentheses():
    page = rendered(link("run", "http://x/) <b> | [y](z)"))
    assert page.seen == ["p", "a"]
    assert "|" not in link("run", "http://x/|")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_text_throughout_the_report(text, make_frames):
    frames = make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",), seeds=2, trials=3)
    arms = tuple(
        replace(
            arm,
            student=text,
            method="bp" if arm.method == "bp" else text,
            ranges={text: text},
            fixed={text: text},
        )
        for arm in frames.study.arms
    )
    hostile = replace(
        frames,
        study=replace(
            frames.study,
            name=text,
            data=text,
            arms=arms,
            teacher=replace(frames.study.teacher, label=text, weights_hash=text),
            budget={text: text},
            provenance={text: text, "command": text},
        ),
    )
    hostile.runs["student"] = text
    hostile.runs.at[0, "warnings"] = [text]
    plain, page = rendered(text_of(frames)), rendered(text_of(hostile))
    for tag in ("script", "h1", "h2", "h3", "img", "a", "pre", "hr", "blockquote", "del", "em", "li", "th"):
        assert page.seen.count(tag) == plain.seen.count(tag), tag
    cells = trials_table(hostile.runs)["student"].unique().tolist()
    assert cells == [f"'{text}" if text[0] in "=+-@" else text]


def test_console_table_fits_a_terminal_and_holds_no_control_characters(make_frames):
    frames = make_frames()
    frames.runs["student"] = "\x1b[31m" + "very-long-name-of-a-student" * 3
    text = console_table(comparison(frames.study, frames.runs))
    lines = text.split("\n")
    assert max(map(len, lines)) <= 110
    assert len(lines) == 2 + 11
    assert "\x1b" not in text
    assert "nan" not in text.lower()


def test_console_table_shows_what_the_comparison_holds(one):
    set_differences(one, "kd-convnet-d4-w8", [1.0, 1.2, 0.8, 1.1, 0.9])
    line = next(
        line for line in console_table(comparison(one.study, one.runs)).split("\n") if line.startswith("kd")
    )
    assert "+1.00 ± 0.20" in line
    assert "24.6 K" in line
    assert line.endswith("8/2/1")
