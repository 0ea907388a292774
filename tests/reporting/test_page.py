import base64
import hashlib
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from lpstudy.rendering import write_report
from lpstudy.rendering.page import number_of
from lpstudy.tables import comparison

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><b>x",
    "]]> --> <!-- <svg onload=alert(1)>",
    "[x](javascript:alert(1)) ![x](http://evil.example/x.png)",
)
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """The elements of a page, its tables cell by cell, and whether all that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[tuple[str, dict[str, str | None], str]]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append((tag, dict(attributes), ""))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data
        if {"th", "td"} & {*self.open}:
            tag, attributes, text = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = tag, attributes, text + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write(folder, frames, link="http://127.0.0.1:5000/#/runs/{}"):
    return write_report(folder, frames.results, frames.importances, links=link.format)


@pytest.fixture(scope="module")
def written(make_frames, tmp_path_factory):
    frames = make_frames(methods=("bp", "kd", "lp"))
    folder = tmp_path_factory.mktemp("out") / "mnist"
    write(folder, frames)
    return frames, folder


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page((written[1] / "report.html").read_text("utf-8"))


def test_a_page_refers_to_nothing_outside_it(page):
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "poster", "data", "action", "background"):
            assert name not in attributes, (tag, name)
        target = attributes.get("href") or ""
        if tag == "a":
            assert target.startswith(("#", "http://127.0.0.1:5000/")) or "/" not in target
        else:
            assert target.startswith("#") or not target
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert len(page.all("script")) == 1


def test_its_policy_forbids_the_network_and_every_script_but_its_own(written):
    text = (written[1] / "report.html").read_text("utf-8")
    policy = next(one["content"] for one in Page(text).all("meta") if "http-equiv" in one)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert "http" not in policy


def test_the_first_table_has_the_numbers_of_the_comparison(written, page):
    table = pd.read_csv(written[1] / "comparison.csv")
    heads, *rows = page.tables[0]
    columns = [text.strip() for _, _, text in heads]
    pairs = {"test accuracy % (n)": "accuracy_mean", "Δ bp": "delta_bp_mean", "params": "parameters"}
    for head, name in pairs.items():
        place = columns.index(head)
        for row, value in zip(rows, table[name], strict=True):
            shown = row[place][1].get("data-value")
            assert (shown is None) == pd.isna(value)
            assert shown is None or float(shown) == pytest.approx(value, rel=5e-3, abs=5.1e-3)
    assert [row[1][2].strip() for row in rows] == table["student"].tolist()


def test_drawn_intervals_are_those_of_the_comparison(written):
    text = (written[1] / "report.html").read_text("utf-8")
    table = comparison(written[0].study, written[0].runs)
    drawn = re.findall(r'<svg class="interval".*?</svg>', text)
    deltas = [one for one in drawn if "zero" in one]
    known = table[table["delta_bp_mean"].notna()]
    assert len(drawn) == len(table) + len(known)
    ends = [re.search(r'reach" d="M([\d.]+) 6H([\d.]+)"', one).groups() for one in deltas]
    low, high = min(0.0, known["delta_bp_low"].min()), max(0.0, known["delta_bp_high"].max())
    for (left, right), (_, row) in zip(ends, known.iterrows(), strict=True):
        assert float(left) == pytest.approx(4 + 112 * (row["delta_bp_low"] - low) / (high - low), abs=0.06)
        assert float(right) == pytest.approx(4 + 112 * (row["delta_bp_high"] - low) / (high - low), abs=0.06)


def test_heads_rows_and_figures_have_names_for_screen_readers(written, page):
    for heads, *rows in page.tables:
        assert all(tag == "th" and attributes["scope"] == "col" for tag, attributes, _ in heads)
        for row in rows:
            assert (row[0][0], row[0][1]["scope"]) == ("th", "row")
            assert all(tag == "td" for tag, _, _ in row[1:])
    assert all(attributes.get("aria-label") for attributes in page.all("table"))
    figures = [one for one in page.all("svg") if one.get("class") != "interval"]
    shown = (written[1] / "report.md").read_text("utf-8").count("](figures/")
    assert len(figures) == len(page.all("figure")) == len(page.all("figcaption")) == shown > 10
    assert all(one["role"] == "img" and one["aria-label"] for one in figures)
    assert page.all("html")[0]["lang"] == "en"
    have_words = [any(text for _, _, text in heads) for heads, *_ in page.tables]
    assert [("hidden" not in one) for one in page.all("thead")] == have_words


def test_a_symbol_says_which_trial_it_is_and_what_it_has(written):
    frames, folder = written
    drawn = (folder / "figures/search_history.svg").read_text("utf-8")
    titles = re.findall(r"<use [^>]*><title>([^<]*)</title></use>", drawn)
    trials = frames.runs[frames.runs["kind"].eq("trial") & frames.runs["validation_accuracy"].notna()]
    assert len(titles) == len(trials)
    row = trials[trials["method"].eq("lp") & trials["state"].eq("pruned")].iloc[0]
    state = f"trial {row['trial']} (pruned): {row['validation_accuracy']:.2f} %, "
    (title,) = [title for title in titles if title.startswith(state) and "gamma" in title]
    assert f"gamma {row['searched']['gamma']:.3g}" in title
    assert f"n_neighbors {row['searched']['n_neighbors']}" in title
    dots = re.findall(
        "<title>kd, one seed: ([^<]*) points", (folder / "figures/differences.svg").read_text("utf-8")
    )
    assert len(dots) == 10
    assert not [path for path in (folder / "figures").glob("*.svg") if "hover:" in path.read_text("utf-8")]


def test_names_within_a_page_are_unique_and_references_have_their_targets(written):
    text = (written[1] / "report.html").read_text("utf-8")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len({*ids})
    assert {*re.findall(r'(?:href="|url\()#([^")]+)', text)} <= {*ids}


def test_a_page_says_what_the_markdown_says(written, page):
    markdown = (written[1] / "report.md").read_text("utf-8")
    words = re.findall(r"[A-Za-z]{4,}", re.sub(r"\]\([^)]*\)", "]", markdown))
    assert {*words} <= {*re.findall(r"[A-Za-z]{4,}", page.text)}


@pytest.mark.parametrize("first", [0, 1])
def test_hostile_names_stay_text(first, make_frames, tmp_path):
    """Each place has one of the names; the two runs give every place another."""
    texts = itertools.cycle([*HOSTILE[3 * first :], *HOSTILE[: 3 * first]])
    frames = make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",), seeds=2, trials=3)
    student, method, data = next(texts), next(texts), next(texts)
    arms = tuple(
        replace(
            arm, student=student, ranges={next(texts): next(texts)}, fixed={next(texts): next(texts)},
            method="bp" if arm.method == "bp" else method,
        )
        for arm in frames.study.arms
    )  # fmt: skip
    provenance = {next(texts): next(texts), "command": next(texts)}
    teacher = replace(frames.study.teacher, label=next(texts))
    study = replace(
        frames.study, name=next(texts), data=data, arms=arms, provenance=provenance, teacher=teacher
    )
    names = tuple(f"{n} {next(texts)}" for n in range(3))
    study = replace(study, class_names=names, test_labels=np.arange(10_000) // 4_000)
    frames.runs["student"] = student
    frames.runs["method"] = frames.runs["method"].where(frames.runs["method"].eq("bp"), method)
    frames.runs.at[0, "warnings"] = [next(texts)]
    frames.runs.at[0, "searched"] = {next(texts): next(texts)}
    importances = {arm.name: {next(texts): 1.0} for arm in arms}
    write_report(
        tmp_path, replace(frames.results, facts=study), importances, links=lambda run: "javascript:alert(1)"
    )
    source = (tmp_path / "report.html").read_text("utf-8")
    page = Page(source)
    assert "Worst classes" in page.text
    assert names[0] in page.text
    assert not {tag for tag, _ in page.elements} & {"img", "b", "iframe", "link"}
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert all(
        (one.get("href") or "#").startswith(("#", "http")) or "/" not in one["href"] for one in page.all("a")
    )
    assert not [one for one in page.all("a") if "javascript" in one["href"] or "evil" in one["href"]]
    assert "<!--" not in source
    for path in (tmp_path / "figures").glob("*.svg"):
        Page(path.read_text("utf-8").split("?>", 1)[1])


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("249.6\u00a0K", 249_600),
        ("88.42\u00a0±\u00a00.26\u00a0(5)", 88.42),
        ("−0.31 ± 0.38", -0.31),
        ("+0.55", 0.55),
        ("36.2×", 36.2),
        ("12 %", 12),
        ("3,072", 3072),
        ("1.5e-05", 1.5e-5),
        ("2 Kinds", 2),
        ("–", None),
        ("not compared: bp is convnet-d2-w4", None),
    ],
)
def test_the_value_that_a_cell_is_sorted_by(cell, number):
    assert number_of(cell) == (None if number is None else pytest.approx(number))
