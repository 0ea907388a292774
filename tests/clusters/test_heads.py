"""The header of each file of clusters/ states its requirements and its use, in commands that exist."""

import re
import shlex

import click
import pytest
from cluster_files import FOLDER, RAY, SECRETS, below_mount, header, pinned, sweep_words, text

from lpstudy import __version__
from lpstudy.sweep import parser

FILES = sorted(path.name for path in FOLDER.iterdir())
USED = ["aws.yaml", "gcp.yaml", "kuberay-rayjob.yaml", "local.yaml", "mlflow-compose.yaml", "slurm.sh"]
LAUNCHED = ["aws.yaml", "gcp.yaml", "local.yaml"]


def commands(name: str) -> list[str]:
    """The commands in a file's header, from Start on."""
    lines = re.sub(r"\\\n\s*", "", header(name).partition("\nStart:")[2]).splitlines()
    return [
        re.split(r"\s#\s", line.removeprefix("Submit:").removeprefix("Stop:").strip())[0] for line in lines
    ]


def test_every_file_is_known() -> None:
    assert sorted([*USED, "Dockerfile", "kuberay-storage.yaml"]) == FILES


@pytest.mark.parametrize("name", USED)
def test_says_what_it_needs_and_how_to_start_submit_and_stop(name: str) -> None:
    for word in ("Needs:", "Start:", "Submit:", "Stop:"):
        assert len(re.findall(rf"^{word} +\S", header(name), re.MULTILINE)) == 1, word


@pytest.mark.parametrize("name", FILES)
def test_holds_no_secret(name: str) -> None:
    assert not SECRETS.search(text(name))


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAABCDEFGHIJKLMNOP",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "token: " + "0f" * 32,
        "- -e RAY_AUTH_TOKEN=x",
        "postgresql://mlflow:hunter2@postgres/mlflow",
        "POSTGRES_PASSWORD: hunter2",
        "MLFLOW_FLASK_SERVER_SECRET_KEY=hunter2",
    ],
)
def test_a_secret_would_be_found(secret: str) -> None:
    assert SECRETS.search(text("aws.yaml") + secret)


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml", "local.yaml", "mlflow-compose.yaml"])
def test_its_sweep_is_one_that_the_sweep_takes_and_keeps_on_shared_storage(name: str) -> None:
    lines = [line for line in commands(name) if "lpstudy.sweep" in line]
    assert len(lines) == 1
    args = parser().parse_args(sweep_words(lines[0]))
    assert below_mount(args.storage.url)
    assert below_mount(args.reports)


@pytest.mark.parametrize("name", LAUNCHED)
def test_its_ray_commands_exist(name: str) -> None:
    called = [
        part for line in commands(name) for part in re.split(r"&&|&", line) if part.strip().startswith("ray ")
    ]
    assert len(called) >= 6
    for part in called:
        words = shlex.split(part.partition(">")[0])[1:]
        command, group = RAY[words[0]], words[0]
        if isinstance(command, click.Group):
            command, words = command.commands[words[1]], words[1:]
        ours = words[1 : words.index("--")] if "--" in words else words[1:]
        command.make_context(group, ours, resilient_parsing=True)
        options = {
            option for parameter in command.params for option in parameter.opts + parameter.secondary_opts
        }
        assert {word for word in ours if word.startswith("--")} <= options, part


@pytest.mark.parametrize("name", [*LAUNCHED, "Dockerfile"])
def test_the_wheel_and_the_ray_are_those_of_this_version(name: str) -> None:
    assert f"lpstudy-{__version__}-py3-none-any.whl" in text(name)
    assert f"rayproject/ray:{pinned('ray')}-py311-cpu" in text(name)
