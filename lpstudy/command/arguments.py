"""Flags that several commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lpstudy.command.exits import BAD_INPUT, EXITS
from lpstudy.folder import Folder
from lpstudy.ledger import database_url
from lpstudy.locations import parse_folder, parse_path
from lpstudy.terminal import printable_line, say


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that refuses bad input in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the problem and exit with the code for bad input."""
        say(f"{self.prog}: {printable_line(message)}; see {self.prog} --help")
        self.exit(BAD_INPUT)


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser for one command of `lpstudy`."""
    return OneLineParser(prog=f"lpstudy {command}", description=description, epilog=EXITS, allow_abbrev=False)


def whole(lowest: int) -> Callable[[str], int]:
    """The type of a flag whose value is a whole number of at least `lowest`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number but got {text!r}") from None
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest} but got {value}")
        return value

    return read


def port(text: str) -> int:
    """The type of `--port`: a whole number up to 65535; 0 is any free port."""
    value = whole(0)(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"must be at most 65535 but got {value}")
    return value


def seconds(text: str) -> float:
    """The type of `--grace`: a number of seconds from 0 to one day."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds but got {text!r}") from None
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"must be from 0 to 86400 but got {text}")
    return value


def share(text: str) -> float:
    """The type of `--gpus-per-trial`: a number from 0 to 1024."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number but got {text!r}") from None
    if not 0 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1024 but got {text}")
    return value


def folder(text: str) -> Folder:
    """The type of `--storage`."""
    try:
        return parse_folder(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path(text: str) -> Path:
    """The type of flags that name a folder of this machine."""
    try:
        return parse_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def ledger(text: str) -> str:
    """The type of `--ledger`."""
    try:
        return database_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_study(to: argparse.ArgumentParser) -> None:
    """Add the study's name and the flags that override its settings."""
    to.add_argument("study", help="name of a file in search_spaces/, or a path that ends in .toml")
    to.add_argument("--trials", type=whole(1), help="trials per arm")
    to.add_argument("--epochs", type=whole(1), help="epochs of every trial and final")
    to.add_argument("--seeds", type=whole(1), help="seeds of the finals")
    add_data_root(to)


def add_data_root(to: argparse.ArgumentParser) -> None:
    """Add the flag for the folder of data sets."""
    to.add_argument(
        "--data-root", type=path, help="folder of the data sets (default: LPSTUDY_DATA or ~/.cache/lpstudy)"
    )


def add_imports(to: argparse.ArgumentParser) -> None:
    """Add the flag for code of one's own; it may be repeated."""
    to.add_argument(
        "--import",
        dest="imports",
        action="append",
        type=path,
        default=[],
        metavar="PATH",
        help="a .py file or a package's folder with methods, networks or data of your own, which every"
        " process of the study runs (may be repeated)",
    )


def add_resources(to: argparse.ArgumentParser) -> None:
    """Add the flags for the resources of a trial."""
    to.add_argument(
        "--gpus-per-trial",
        type=share,
        default=0.0,
        metavar="G",
        help="GPUs of a trial's worker; 0.25 packs four",
    )
    to.add_argument(
        "--workers-per-trial",
        type=whole(1),
        default=1,
        metavar="N",
        help="Ray Train workers that share each batch",
    )
    to.add_argument(
        "--concurrent", type=whole(1), metavar="N", help="trials at once (default: as many as fit)"
    )


def add_storage(to: argparse.ArgumentParser) -> None:
    """Add the flags for the folder and database of studies."""
    to.add_argument(
        "--storage",
        type=folder,
        default="studies",
        metavar="FOLDER",
        help="ledger, checkpoints, weights: a folder or, with --ledger, an fsspec URL such as s3://bucket/studies"
        " (default: ./studies)",
    )
    to.add_argument(
        "--ledger",
        type=ledger,
        metavar="URL",
        help="database of the ledgers: postgresql://... for several drivers (default: a file for each study)",
    )


def add_reports(to: argparse.ArgumentParser) -> None:
    """Add the flag for the folder of reports."""
    to.add_argument("--reports", type=path, default="reports", metavar="FOLDER", help="folder of the reports")


def add_json(to: argparse.ArgumentParser) -> None:
    """Add the flag for JSON output."""
    to.add_argument("--json", action="store_true", help="print JSON")
