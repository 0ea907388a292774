"""The report's page in Chromium; skipped where there is none."""

import numpy as np
import pytest
from browser import PROGRAM, browser
from PIL import Image

from lpstudy.rendering import write_report

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
_PALE = 128


@pytest.fixture(scope="module")
def opened(make_frames, tmp_path_factory):
    """A page of 2,000 trials, opened twice, and the seconds of the quicker time."""
    frames = make_frames(methods=("bp", "kd", "fitnet", "lp", "lp_kd"), trials=200)
    folder = tmp_path_factory.mktemp("page")
    write_report(
        folder / "mnist", frames.results, frames.importances, links="http://127.0.0.1:5000/#/runs/{}".format
    )
    with browser(folder) as page:
        seconds = min(page.open(folder / "mnist" / "report.html") for _ in range(2))
        yield page, seconds, folder


COLUMN = """[...document.querySelectorAll("table")[0].tBodies[0].rows].filter((row) => !row.hidden)
    .map((row) => row.cells[{}].textContent.trim())"""
HEAD = "document.querySelectorAll('table')[0].tHead.rows[0].cells[{}]"


def test_it_opens_soon_without_an_error_or_a_request(opened):
    page, seconds, _ = opened
    assert seconds < 2
    methods = [event["method"] for event in page.events]
    assert not {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"} & {*methods}
    assert methods.count("Network.requestWillBeSent") == 2  # the page itself, each time


def test_its_policy_stops_requests_and_foreign_scripts(opened):
    page, _, _ = opened
    assert page.run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
    page.run(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    assert page.run("window.ran === undefined")


def test_a_click_and_the_keyboard_sort_the_table(opened):
    page, _, _ = opened
    page.run(f"{HEAD.format(2)}.querySelector('button').click()")
    assert page.run(f"{HEAD.format(2)}.getAttribute('aria-sort')") == "descending"
    values = [float(text.split("\u00a0")[0]) for text in page.run(COLUMN.format(2))]
    assert values == sorted(values, reverse=True)
    page.run(f"{HEAD.format(3)}.querySelector('button').focus()")
    page.press("Enter", 13)
    page.press("Enter", 13)
    assert page.run(f"{HEAD.format(3)}.getAttribute('aria-sort')") == "ascending"
    assert page.run(f"{HEAD.format(2)}.getAttribute('aria-sort')") is None
    cells = page.run(COLUMN.format(3))
    numbers = [float(text.split("\u00a0")[0].replace("−", "-")) for text in cells if text != "–"]
    assert numbers == sorted(numbers)
    assert cells[len(numbers) :] == ["–"] * (len(cells) - len(numbers))


def test_words_filter_the_table(opened):
    page, _, _ = opened
    fill = """{const box = document.querySelector("input"); box.value = "%s";
        box.dispatchEvent(new Event("input"))}"""
    page.run(fill % "LP w16")
    assert sorted(page.run(COLUMN.format(0))) == ["lp", "lp_kd"]
    assert page.run("document.querySelector('output').textContent") == "2 of 11 rows"
    page.run(fill % "")
    assert len(page.run(COLUMN.format(0))) == 11


def test_both_schemes_and_print_have_their_colours(opened, tmp_path):
    page, _, _ = opened
    for scheme in ("light", "dark"):
        page.picture(tmp_path / "page.png", scheme=scheme)
        with Image.open(tmp_path / "page.png") as image:
            middle = np.median(np.asarray(image.convert("L")))
        assert (middle > _PALE) == (scheme == "light")
    page.call(
        "Emulation.setEmulatedMedia",
        media="print",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.querySelector('figure svg')).filter") == "none"
