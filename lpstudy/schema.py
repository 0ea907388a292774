"""`lpstudy schema`: the keys of a study file, as a JSON schema for editors or as Markdown."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from lpstudy.command import arguments as flags
from lpstudy.command.exits import DONE, errors_as_bad_input, exit_code_of
from lpstudy.command.study_file import study_file_markdown
from lpstudy.space import import_files
from lpstudy.space.json_schema import study_schema
from lpstudy.terminal import show, show_json


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser("schema", "Print the JSON schema of a study file, for TOML editors.")
    flags.add_imports(parser)
    parser.add_argument("--markdown", action="store_true", help="print docs/study-file.md instead")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("schema", lambda: _schema(args))


def _schema(args: Namespace) -> int:
    with errors_as_bad_input():
        import_files(args.imports)
    if args.markdown:
        show(*study_file_markdown().splitlines())
    else:
        show_json(study_schema(), indent=2)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
