from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from lpstudy.rendering.markdown import block, code, escape, link
from lpstudy.tables import trials_table

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
def test_hostile_names_stay_text_throughout_the_report(text, make_frames, text_of):
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
