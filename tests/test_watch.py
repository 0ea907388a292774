"""`lpstudy watch`: the report's page of a running study, from ledgers; in Chromium where there is one."""

import html
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import PROGRAM, browser
from commands import CommandResult, call, error_line, start, wait_for, wait_for_exit, write_study

from lpstudy import sweep, watch
from lpstudy.command import live_page
from lpstudy.command.live_page import LivePage
from lpstudy.command.page_server import PageServer
from lpstudy.folder import LocalFolder
from lpstudy.ledger import ledger_file_url, read_ledger
from lpstudy.rendering.report_files import report_text
from lpstudy.tracking import ledger_results

Smoke = tuple[Path, CommandResult]
METHODS = ("[methods.bp]\n", "".join(f"[methods.{name}]\n" for name in ("bp", "kd", "dkd", "pkt")))


def get(address: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of an answer."""
    parts = urlsplit(address)
    connection = HTTPConnection("127.0.0.1", parts.port, timeout=60)
    connection.request("GET", parts.path, headers={name.replace("_", "-"): v for name, v in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the page of `studies/tiny` below the test's folder."""
    monkeypatch.setattr(live_page, "READ_SECONDS", 0.0)
    monkeypatch.setattr(live_page, "REST", 0)
    page = LivePage(LocalFolder(tmp_path / "studies"), None, "tiny")
    with PageServer(0, page.current) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


def test_the_ledger_gives_the_report_that_mlflow_gives_but_for_its_links(smoke: Smoke) -> None:
    results = ledger_results(read_ledger(ledger_file_url(smoke[0] / "studies/smoke"), "smoke"))
    text = (smoke[0] / "reports/smoke/report.md").read_text()
    figures = re.findall(r"figures/(\w+)\.png", text)
    without_runs = re.sub(r"\| \[[0-9a-f]{8}\]\(http.*\) \|$", "| – |", text, flags=re.MULTILINE)
    assert report_text(results, figures, links=lambda run: "") == without_runs


def test_a_command_serves_the_page_until_ctrl_c_and_writes_nothing(smoke: Smoke) -> None:
    ledger = smoke[0] / "studies/smoke/ledger.db"
    before = ledger.read_bytes()
    process = start(smoke[0], "watch", "smoke")
    assert process.stdout is not None
    address = process.stdout.readline().split()[1]
    status, text, headers = get(address)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "finished; 10 of 10 runs" in text
    assert "<svg" in text
    assert 'href="trials.csv"' not in text
    assert get(address, If_None_Match=headers["ETag"])[:2] == (304, "")
    for other in (re.sub("/[^/]+/$", "/", address), address[:-2] + "/", address + "x", address[:-1]):
        assert get(other)[:2] == (403, "")
    assert get(address, Host="evil.example")[0] == 403
    secret = urlsplit(address).path.strip("/")
    assert len(secret) >= 43
    command = subprocess.run(["ps", "-o", "args=", "-p", str(process.pid)], capture_output=True, text=True)
    process.send_signal(signal.SIGINT)
    result = wait_for_exit(process)
    assert (result.code, result.err) == (0, "lpstudy watch: ended; the study goes on\n")
    assert secret not in result.out + command.stdout
    assert ledger.read_bytes() == before
    assert [path.name for path in ledger.parent.glob("ledger*")] == ["ledger.db"]


def test_a_study_that_has_not_started_is_named_and_then_shown_and_read_no_more_than_it_changes(
    tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, text, _ = get(served)
    assert status == 200
    assert "has no study 'tiny'; it has none" in html.unescape(text)
    write_study(tmp_path)
    assert call(sweep.main, tmp_path, "tiny.toml", "--in-process").code == 0
    _, text, headers = get(served)
    assert "finished; 2 of 2 runs" in text
    with monkeypatch.context() as patch:
        patch.setattr(live_page, "read_ledger", None)
        assert get(served)[2]["ETag"] == headers["ETag"]
    (tmp_path / "studies/tiny/ledger.db").write_text("no database " * 1000)
    assert "not a database" in get(served)[1]


def test_pages_are_made_at_most_as_often_as_their_making_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = LivePage(LocalFolder(tmp_path), None, "tiny")
    readings: list[float] = []

    def read() -> None:
        readings.append(time.monotonic())
        end = time.process_time() + 0.03
        while time.process_time() < end:
            pass

    monkeypatch.setattr(live_page, "READ_SECONDS", 0.0)
    monkeypatch.setattr(page, "read", read)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        page.current()
    assert len(readings) <= 4
    assert len(readings) >= 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("tiny", "--port", "65536"), "must be at most 65535"),
        (("tiny", "--ledger", "sqlite:////nowhere/ledger.db"), "no such file"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, args: tuple[str, ...], says: str) -> None:
    result = call(watch.main, tmp_path, *args)
    assert result.code == 2
    assert says in error_line(result)


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = call(watch.main, tmp_path, "tiny", "--port", str(taken.getsockname()[1]))
    assert result.code == 2
    assert "in use" in error_line(result)


@pytest.mark.faults
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
def test_the_page_renews_itself_and_stays_as_it_was_arranged(tmp_path: Path, served: str) -> None:
    write_study(tmp_path, METHODS)
    assert call(sweep.main, tmp_path, "tiny.toml", "--in-process").code == 0
    head = "document.querySelectorAll('table')[0].tHead.rows[0].cells[2]"
    with browser(tmp_path) as page:
        page.call(
            "Emulation.setDeviceMetricsOverride", width=600, height=500, deviceScaleFactor=1, mobile=False
        )
        page.open(served)
        page.run(f"{head}.querySelector('button').click()")
        page.run(f"{head}.querySelector('button').click()")
        page.run(
            "{const box = document.querySelector('input'); box.focus(); box.value = 'dkd';"
            "box.dispatchEvent(new Event('input')); box.setSelectionRange(1, 2)}"
        )
        page.run("document.querySelector('.table').scrollLeft = 40")
        page.run("document.getElementById('search').scrollIntoView()")
        place = page.run("document.getElementById('search').getBoundingClientRect().top")
        assert page.run("document.querySelector('.live').textContent") == "finished; 8 of 8 runs"
        assert call(sweep.main, tmp_path, "tiny.toml", "--in-process", "--seeds", "2").code == 0
        wait_for(lambda: "12 of 12" in page.run("document.querySelector('.live').textContent"), seconds=20)
        assert page.run(f"{head}.getAttribute('aria-sort')") == "ascending"
        rows = "[...document.querySelector('table').tBodies[0].rows]"
        assert page.run(f"{rows}.filter((row) => !row.hidden).map((row) => row.cells[0].textContent)") == [
            "dkd"
        ]
        assert "(2)" in page.run(f"{rows}.find((row) => !row.hidden).cells[2].textContent")
        assert page.run("document.activeElement === document.querySelector('input')")
        assert page.run("[document.activeElement.selectionStart, document.activeElement.selectionEnd]") == [
            1,
            2,
        ]
        assert page.run("document.querySelector('.table').scrollLeft") == 40
        top = page.run("document.getElementById('search').getBoundingClientRect().top")
        assert abs(top - place) < 2
        methods = [event["method"] for event in page.events]
        assert not {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"} & {*methods}
        requests = {
            event["params"]["request"]["url"]
            for event in page.events
            if event["method"] == "Network.requestWillBeSent"
        }
        assert requests == {served}
        assert page.run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
