"""optuna-dashboard on a ledger that it can only read, as docs/live.md starts it, seen in Chromium."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from browser import PROGRAM, browser
from commands import free_port, stop_group, wait_for

from lpstudy.ledger import Ledger, read_ledger, sqlite_file
from lpstudy.space import StudySpec

pytest.importorskip("optuna_dashboard", reason="needs lpstudy[dashboard]")
Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]


def read_only(url: str) -> str:
    """The address of docs/live.md."""
    file = sqlite_file(url)
    if file is not None:
        return f"sqlite:///file:{file}?mode=ro&uri=true"
    return url.replace("postgresql:", "postgresql+psycopg:") + "?options=-cdefault_transaction_read_only%3Don"


def request(port: int, method: str, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path)
    return connection.getresponse().status


def answers(port: int) -> bool:
    try:
        return request(port, "GET", "/dashboard") == 200
    except OSError:
        return False


@pytest.fixture
def port(make: Make, reopen: Open, play: Any, url: str, tmp_path: Path) -> Iterator[int]:
    """The port of a dashboard on the ledger of a small study."""
    play.all(reopen(make()))
    number = free_port()
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, read_only(url), "--port", str(number)], stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(lambda: answers(number), seconds=60)
            yield number
        finally:
            stop_group(server)


def test_it_shows_each_arm_and_cannot_change_the_ledger(port: int, url: str, tmp_path: Path) -> None:
    before = read_ledger(url, "small").records()
    assert request(port, "DELETE", "/api/studies/1") == 500
    assert read_ledger(url, "small").records() == before
    if PROGRAM is None:
        return
    with browser(tmp_path) as page:
        page.open(f"http://127.0.0.1:{port}/dashboard")
        for name in ("small/bp-convnet-d2-w4", "small/kd-convnet-d2-w4/finals"):
            wait_for(lambda name=name: name in page.run("document.body.innerText"), seconds=30)
        page.open(f"http://127.0.0.1:{port}/dashboard/studies/2")
        wait_for(lambda: "validation accuracy in %" in page.run("document.body.innerText"), seconds=30)
        requests = [
            event["params"]["request"]["url"]
            for event in page.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert all(one.startswith((f"http://127.0.0.1:{port}/", "data:")) for one in requests)
        assert not any(event["method"] == "Runtime.exceptionThrown" for event in page.events)
