"""`python -m lpstudy.sweep NAME`: run a study from its teacher to its report, or go on with it."""

import os
import shlex
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from lpstudy import study, tracking
from lpstudy.command import arguments as flags
from lpstudy.command.console import Console, counts, duration
from lpstudy.command.exits import DONE, FAULT, FaultError, ending, refusing
from lpstudy.command.phases import fill_bank, train_teacher
from lpstudy.command.prepare import Prepared, demand_of, prepare, writable
from lpstudy.command.provenance import provenance
from lpstudy.command.publish import publish, show
from lpstudy.ledger import Assignment, Ledger, database, dump
from lpstudy.space import Training
from lpstudy.study import Demand, Place
from lpstudy.teacher import BankPlan, TeacherFile, key
from lpstudy.tracking import Client, Projection

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set where a process was started by `ray job submit`."""
PROJECTION_SECONDS = 60.0
"""How long the end of a study waits for MLflow."""
INTERRUPTED_SECONDS = 10.0
"""How long one that breaks off waits for it."""


def parser() -> ArgumentParser:
    """The command's flags."""
    made = flags.parser("sweep", "Run a study, or go on where it stopped.")
    flags.add_study(made)
    flags.add_storage(made)
    made.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the reports")
    flags.add_demand(made)
    made.add_argument(
        "--fresh", action="store_true", help="start anew; the old study is kept under another name"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    given = parser().parse_args(words)
    command = shlex.join(["python", "-m", "lpstudy.sweep", *words])
    return ending("sweep", lambda: _sweep(given, command))


def _sweep(given: Namespace, command: str) -> int:
    began = time.monotonic()
    with ExitStack() as stack:
        with refusing():
            prepared = prepare(given)
            demand = demand_of(given, prepared)
            writable(given.storage)
            writable(given.reports)
            client = tracking.connect()
            folder = given.storage.resolve() / prepared.spec.name
            stack.enter_context(_held(folder))
            if os.environ.get("RAY_ADDRESS"):
                _join(stack, demand)
        _mention_job_folder(given)
        if given.fresh and folder.exists():
            folder.rename(_free(folder))
        with refusing():
            ledger = _ledger(folder, prepared)
        ledger.take()
        teacher = None
        root = given.data_root or prepared.spec.data.root
        place = Place(folder, root.resolve() if root else None)
        if ledger.complete():
            print(f"study {ledger.spec.name!r} is finished; its report is written anew", file=sys.stderr)
        else:
            if not os.environ.get("RAY_ADDRESS"):
                _join(stack, demand)
            teacher = train_teacher(prepared, place, demand)
            ledger.keep("teacher", {k: v for k, v in asdict(teacher).items() if k != "folder"})
            ledger.keep("provenance", provenance(prepared, teacher, _precision(prepared, demand), command))
            fill_bank(prepared, teacher, place, demand)
        projection = _projection(ledger, prepared, client, folder)
        projection.start()
        patience = INTERRUPTED_SECONDS
        try:
            if teacher is not None:
                _run(ledger, teacher, prepared.plan, projection, place, demand)
            patience = PROJECTION_SECONDS
        finally:
            projection.close(seconds=patience)
        return _publish(ledger, client, given, began, projection.error)


def _precision(prepared: Prepared, demand: Demand) -> str:
    """What all runs compute in, `auto` settled."""
    asked = prepared.spec.training.get("precision", Training().precision)
    return study.settled(Training.model_validate({"precision": asked}), demand).precision


def _mention_job_folder(given: Namespace) -> None:
    """A Ray job works in a copy of the submitted folder, which goes with the job."""
    own = tracking.tracking_uri() == tracking.DEFAULT_URI
    if JOB in os.environ and (own or not (given.storage.is_absolute() and given.reports.is_absolute())):
        print(
            "note: a Ray job works in a copy of the folder; to keep what it writes, give absolute --storage"
            " and --reports and set MLFLOW_TRACKING_URI",
            file=sys.stderr,
        )


def _ledger(folder: Path, prepared: Prepared) -> Ledger:
    folder.mkdir(exist_ok=True)
    data = prepared.data
    ledger = Ledger(database(folder), prepared.spec, input_shape=data.input_shape, classes=data.classes)
    ledger.accept(key(prepared.spec.teacher, data))
    return ledger


def _projection(ledger: Ledger, prepared: Prepared, client: Client, folder: Path) -> Projection:
    kept = ledger.facts
    facts = tracking.Facts(
        spec=dump(prepared.spec),
        data=_data_facts(prepared),
        teacher=kept["teacher"],
        provenance=kept["provenance"],
    )
    return Projection(client, ledger, facts, folder / "runs")


def _run(
    ledger: Ledger,
    teacher: TeacherFile,
    plan: BankPlan,
    projection: Projection,
    place: Place,
    demand: Demand,
) -> None:
    """Search and finals; MLflow follows, or lags behind."""
    console = Console(ledger, live=sys.stderr.isatty())
    said = None

    def changed(assignment: Assignment) -> None:
        nonlocal said
        projection.changed(assignment)
        console.changed(assignment)
        if projection.error is not None and said is None:
            said = projection.error
            console.say(f"warning: MLflow lags behind, training goes on: {said}")

    try:
        study.run(ledger, teacher, plan, place, demand, changed)
    finally:
        console.close()


def _publish(ledger: Ledger, client: Client, given: Namespace, began: float, behind: str | None) -> int:
    name = ledger.spec.name
    if behind is None:
        try:
            show(publish(client, name, given.reports), name)
        except tracking.UNANSWERED as error:
            behind = " ".join(str(error).split())[:300]
    if behind is not None:
        raise FaultError(f"MLflow lags behind ({behind}); the same command brings it up to date")
    states = counts(ledger.records())
    print(
        ", ".join(f"{n} {state}" for state, n in states.items()), f"in {duration(time.monotonic() - began)}"
    )
    return DONE if states["finished"] else FAULT


def _join(stack: ExitStack, demand: Demand) -> None:
    with refusing():
        stack.enter_context(study.session())
        cpus, gpus = study.resources()
        study.concurrent_trials(demand, cpus=cpus, gpus=gpus)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"study {folder.name!r} is running already in {folder.parent}") from None
    with lock:
        yield


def _free(folder: Path) -> Path:
    """A name beside the folder that is not taken."""
    return next(p for n in count(1) if not (p := folder.with_name(f"{folder.name}.old{n}")).exists())


def _data_facts(prepared: Prepared) -> dict[str, object]:
    data = prepared.data
    return {
        "name": data.name,
        "classes": data.classes,
        "input_shape": list(data.input_shape),
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
    }


if __name__ == "__main__":
    sys.exit(main())
