"""`lpstudy pause | resume | stop | cancel NAME`: control a running study from any shell or machine."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Engine

from lpstudy import ledger
from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.overview import engine_of, existing_study, ledger_name, ledger_url
from lpstudy.folder import Folder
from lpstudy.ledger import HEARTBEAT_SECONDS, Request
from lpstudy.terminal import show, show_json

Command = Literal["pause", "resume", "stop", "cancel"]
REQUESTS: dict[Command, Request] = {"pause": "pause", "resume": "run", "stop": "stop", "cancel": "cancel"}
DOES: dict[Command, str] = {
    "pause": "Write checkpoints, end the running trials and wait for `lpstudy resume`.",
    "resume": "Resume a paused study.",
    "stop": "Finish the running trials, start no new ones, and write the report.",
    "cancel": "End the running trials at once, as failed, and write the report.",
}
HEARD_SECONDS = 5 * HEARTBEAT_SECONDS
"""How long the study's process may take to receive a request."""


def parser(command: Command) -> ArgumentParser:
    """The command's flags."""
    made = flags.parser(command, DOES[command])
    made.add_argument("study", help="name of the study")
    flags.add_storage(made)
    flags.add_json(made)
    return made


def main(argv: Sequence[str] | None = None, command: Command = "pause") -> int:
    """Run the command; returns the exit code."""
    args = parser(command).parse_args(argv)
    return exit_code_of(command, lambda: _operate(args, command))


def _operate(args: Namespace, command: Command) -> int:
    with errors_as_bad_input():
        name = existing_study(args.storage, args.ledger, args.study)
        folder = args.storage / name
        engine = engine_of(folder, args.ledger)
        own = ledger_name(name, args.ledger)
        facts = ledger.read_progress(engine, own).facts
    if ledger.is_study_running(engine, own):
        said = _ask(engine, own, command)
    elif command == "cancel":
        said = {"runs": _cancel(folder, args.ledger, own), "text": f"no process runs study {name!r}: "}
        said["text"] += (
            f"{said['runs']} unfinished runs are now failed; `lpstudy reconcile {name}` updates MLflow"
        )
    else:
        command_line = facts.get("provenance", {}).get("command")
        hint = f"; start it with: {command_line}" if command_line else ""
        raise FaultError(f"no process runs study {name!r}{hint}")
    text = said.pop("text")
    show_json({"study": name, "command": command, **said}) if args.json else show(text)
    return DONE


def _ask(engine: Engine, name: str, command: Command) -> dict[str, Any]:
    """Send a request and wait until the study's process has received it."""
    with errors_as_bad_input():
        row = ledger.send_request(engine, name, REQUESTS[command])
    until = time.monotonic() + HEARD_SECONDS
    heard = False
    while not heard and time.monotonic() < until:
        time.sleep(HEARTBEAT_SECONDS / 4)
        now = ledger.read_lease(engine, name)
        heard = now is None or now.token is None or now.gauges.get("heard", 0) >= row.request_number
    who = f"host {row.holder.host}, pid {row.holder.pid}" if row.holder is not None else "its process"
    text = f"study {name!r}: {who} " + ("has received" if heard else "has not yet received") + f": {command}"
    return {"heard": heard, "text": text}


def _cancel(folder: Folder, url: str | None, name: str) -> int:
    """Mark the unfinished runs of a dead process as failed; returns how many there were."""
    with errors_as_bad_input():
        storage = ledger.open_storage(ledger_url(folder, url))
        lease = ledger.Lease(storage.engine, name)
        lease.acquire()
        book = ledger.read_ledger(storage, name)
        mine = ledger.Ledger(storage, book.spec, input_shape=book.input_shape, classes=book.classes)
        cancelled = mine.cancel()
        lease.release({"state": "cancelled"})
    return len(cancelled)
