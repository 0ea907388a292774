"""`lpstudy pause | resume | stop | cancel NAME`: control a running study from any shell or machine."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Engine

from lpstudy import ledger
from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.study_ledgers import existing_study, ledger_engine, ledger_name, ledger_url
from lpstudy.folder import Folder
from lpstudy.ledger import HEARTBEAT_SECONDS, Request
from lpstudy.terminal import show, show_json

Command = Literal["pause", "resume", "stop", "cancel"]
REQUEST_OF: dict[Command, Request] = {"pause": "pause", "resume": "run", "stop": "stop", "cancel": "cancel"}
DESCRIPTIONS: dict[Command, str] = {
    "pause": "Write checkpoints, end the running trials and wait for `lpstudy resume`.",
    "resume": "Resume a paused study.",
    "stop": "Finish the running trials, start no new ones, and write the report.",
    "cancel": "End the running trials at once, as failed, and write the report.",
}
RECEIPT_SECONDS = 5 * HEARTBEAT_SECONDS
"""How long the study's process may take to receive a request."""


def parser(command: Command) -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser(command, DESCRIPTIONS[command])
    parser.add_argument("study", help="name of the study")
    flags.add_storage(parser)
    flags.add_json(parser)
    return parser


def main(argv: Sequence[str] | None = None, command: Command = "pause") -> int:
    """Run the command; returns the exit code."""
    args = parser(command).parse_args(argv)
    return exit_code_of(command, lambda: _operate(args, command))


def _operate(args: Namespace, command: Command) -> int:
    with errors_as_bad_input():
        name = existing_study(args.storage, args.ledger, args.study)
        folder = args.storage / name
        engine = ledger_engine(folder, args.ledger)
        stored_name = ledger_name(name, args.ledger)
        facts = ledger.read_progress(engine, stored_name).facts
    if ledger.is_study_running(engine, stored_name):
        result = _send_and_wait(engine, stored_name, command)
    elif command == "cancel":
        result = {
            "runs": _cancel(folder, args.ledger, stored_name),
            "text": f"no process runs study {name!r}: ",
        }
        result["text"] += (
            f"{result['runs']} unfinished runs are now failed; `lpstudy reconcile {name}` updates MLflow"
        )
    else:
        command_line = facts.get("provenance", {}).get("command")
        hint = f"; start it with: {command_line}" if command_line else ""
        raise FaultError(f"no process runs study {name!r}{hint}")
    text = result.pop("text")
    show_json({"study": name, "command": command, **result}) if args.json else show(text)
    return DONE


def _send_and_wait(engine: Engine, name: str, command: Command) -> dict[str, Any]:
    """Send a request and wait until the study's process has received it."""
    with errors_as_bad_input():
        row = ledger.send_request(engine, name, REQUEST_OF[command])
    deadline = time.monotonic() + RECEIPT_SECONDS
    is_received = False
    while not is_received and time.monotonic() < deadline:
        time.sleep(HEARTBEAT_SECONDS / 4)
        now = ledger.read_lease(engine, name)
        is_received = now is None or now.token is None or now.gauges.get("heard", 0) >= row.request_number
    who = f"host {row.holder.host}, pid {row.holder.pid}" if row.holder is not None else "its process"
    text = f"study {name!r}: {who} has {'received' if is_received else 'not yet received'}: {command}"
    return {"heard": is_received, "text": text}


def _cancel(folder: Folder, url: str | None, name: str) -> int:
    """Mark the unfinished runs of a dead process as failed; returns how many there were."""
    with errors_as_bad_input():
        storage = ledger.open_storage(ledger_url(folder, url))
        lease = ledger.Lease(storage.engine, name)
        lease.acquire()
        reader = ledger.read_ledger(storage, name)
        mine = ledger.Ledger(storage, reader.spec, input_shape=reader.input_shape, classes=reader.classes)
        cancelled = mine.cancel()
        lease.release({"state": "cancelled"})
    return len(cancelled)
