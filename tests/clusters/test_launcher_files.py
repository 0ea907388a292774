"""Ray's cluster launcher accepts these files, and they follow rules that no cloud enforces."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_files import MOUNT, RAY, Change, below_mount, changed, document, is_pinned, pinned
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

FILES = ["aws.yaml", "gcp.yaml", "local.yaml"]
CLOUDS = ["aws.yaml", "gcp.yaml"]
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def spot(node: dict[str, Any]) -> bool:
    """Whether a node is a spot node (EC2's InstanceMarketOptions, Compute Engine's scheduling)."""
    scheduling = node.get("scheduling", {})
    return (
        node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        or scheduling.get("provisioningModel") == "SPOT"
        or bool(scheduling.get("preemptible"))
    )


def start_commands(config: dict[str, Any], role: str) -> list[str]:
    """The words of `ray start` on the head or a worker."""
    commands: list[str] = config[f"{role}_start_ray_commands"]
    return shlex.split(next(command for command in commands if command.startswith("ray start ")))[2:]


def container(config: dict[str, Any]) -> list[str]:
    """The options of every container."""
    return [" ".join(shlex.split(option)) for option in config["docker"]["run_options"]]


def open_ports(config: dict[str, Any]) -> Iterator[str]:
    """The settings that let others in."""
    if "--dashboard-host=127.0.0.1" not in start_commands(config, "head"):
        yield "the dashboard is not on loopback"
    if re.search(r"0\.0\.0\.0|::/0", str(config)):
        yield "something is open to the world"
    for name, node in config.get("available_node_types", {}).items():
        node_config = node["node_config"]
        if config["provider"]["type"] == "aws" and not node_config.get("SecurityGroupIds"):
            yield f"{name}: Ray would make a security group with port 22 open to the world"
        if config["provider"]["type"] == "gcp":
            nets = [net.get("subnetwork", "default") for net in node_config.get("networkInterfaces", [{}])]
            if any(net.rpartition("/")[2] == "default" for net in nets):
                yield f"{name}: the default network lets the world in at port 22"


def machines(config: dict[str, Any]) -> Iterator[str]:
    """The settings that risk the head, or cost more than spot nodes."""
    if "--num-cpus=0" not in start_commands(config, "head"):
        yield "trials may run on the head"
    if config["provider"]["type"] == "local":
        return
    for name, node in config["available_node_types"].items():
        head = name == config["head_node_type"]
        if head and spot(node["node_config"]):
            yield "the head is on spot"
        if head and node["resources"] != {"CPU": 0}:
            yield "trials may run on the head"  # the launcher's number goes before that of `ray start`
        if not head and not spot(node["node_config"]):
            yield f"{name}: not on spot"
        if not head and node.get("min_workers", 0) < 1:
            yield f"{name}: none is there when the sweep counts what fits"
    if config["provider"].get("cache_stopped_nodes", True):
        yield "stopped nodes are kept and billed"


def token(config: dict[str, Any]) -> Iterator[str]:
    """The settings that let somebody without the token run a job."""
    if "-e RAY_AUTH_MODE=token" not in container(config):
        yield "no token is asked for"
    if config["file_mounts"].get("~/.ray/auth_token") != "~/.ray/auth_token":
        yield "the token is not shipped"
    if not any("chmod 600 ~/.ray/auth_token" in command for command in config["setup_commands"]):
        yield "others on a node may read the token"


def storage(config: dict[str, Any]) -> Iterator[str]:
    """Files that would stay on one node."""
    before = config["initialization_commands"]
    if not any(command.startswith(f"mountpoint -q {MOUNT}") for command in before):
        yield "a node without the shared folder is not refused"
    mounts = [command for command in before if "sudo mount " in command]
    if config["provider"]["type"] != "local" and not (mounts and mounts[0].endswith(f" {MOUNT}")):
        yield "the shared folder is not mounted"
    if f"-v {MOUNT}:{MOUNT}" not in container(config):
        yield "the container does not see the shared folder"
    arguments = dict(
        option.removeprefix("-e ").split("=", 1) for option in container(config) if option.startswith("-e ")
    )
    for name in ("LPSTUDY_CACHE", "LPSTUDY_DATA", "MLFLOW_TRACKING_URI"):
        if not below_mount(arguments.get(name, "").removeprefix("sqlite:///")):
            yield f"{name} is not in the shared folder"


def versions(config: dict[str, Any]) -> Iterator[str]:
    """Versions that are not pinned."""
    for key in ("image", "head_image", "worker_image"):
        image = config["docker"].get(key)
        if image and not (is_pinned(image) and pinned("ray") in image):
            yield f"{key} is not that of the pinned Ray"
    if not config["docker"].get("image"):
        yield "no image"
    for name, node in config.get("available_node_types", {}).items():
        node_config = node["node_config"]
        if config["provider"]["type"] == "aws" and not re.fullmatch(
            r"ami-[0-9a-f]{17}", node_config.get("ImageId", "")
        ):
            yield f"{name}: no AMI is named"
        disks = [disk["initializeParams"]["sourceImage"] for disk in node_config.get("disks", [])]
        if any("/family/" in disk for disk in disks):
            yield f"{name}: a family's image moves"


def complaints(config: dict[str, Any]) -> list[str]:
    """The problems of a file by all rules."""
    return [problem for rule in (open_ports, machines, token, storage, versions) for problem in rule(config)]


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_it_but_not_with_an_unknown_key(name: str) -> None:
    validate_config(prepare_config(document(name)))
    with pytest.raises(ValidationError, match="initialisation_commands"):
        validate_config(prepare_config(document(name) | {"initialisation_commands": []}))


@pytest.mark.parametrize("name", FILES)
def test_it_leaves_none_of_rays_own_commands_in_place(name: str) -> None:
    """Ray's defaults install another Ray and show the dashboard to all."""
    prepared, original = prepare_config(document(name)), document(name)
    for key in COMMANDS:
        assert prepared[key] == original[key]
    assert prepared["head_setup_commands"] == prepared["worker_setup_commands"] == original["setup_commands"]


@pytest.mark.parametrize("name", FILES)
def test_keeps_every_rule(name: str) -> None:
    assert complaints(document(name)) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("role", ["head", "worker"])
def test_ray_start_knows_its_options(name: str, role: str) -> None:
    words = start_commands(document(name), role)
    options = {option for parameter in RAY["start"].params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words} <= options


@pytest.mark.parametrize("name", FILES)
def test_bash_can_read_its_commands(name: str) -> None:
    for key in COMMANDS:
        for command in document(name)[key]:
            subprocess.run(["bash", "-n", "-c", command], check=True)


def _start(config: Any, old: str, new: str) -> None:
    commands = config["head_start_ray_commands"]
    config["head_start_ray_commands"] = [command.replace(old, new) for command in commands]


def _without(config: Any, key: str, part: str) -> None:
    config[key] = [command for command in config[key] if part not in command]


def _option(config: Any, old: str, new: str) -> None:
    docker = config["docker"]
    docker["run_options"] = [option.replace(old, new) for option in docker["run_options"]]


ANYWHERE: list[tuple[str, Change]] = [
    ("the dashboard is not on loopback", lambda c: _start(c, "127.0.0.1", "0.0.0.0")),
    ("something is open to the world", lambda c: _start(c, "127.0.0.1", "0.0.0.0")),
    ("trials may run on the head", lambda c: _start(c, "--num-cpus=0", "")),
    ("no token is asked for", lambda c: _option(c, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    ("the token is not shipped", lambda c: c["file_mounts"].pop("~/.ray/auth_token")),
    ("others on a node may read the token", lambda c: _without(c, "setup_commands", "chmod")),
    (
        "without the shared folder is not refused",
        lambda c: _without(c, "initialization_commands", "mountpoint"),
    ),
    ("does not see the shared folder", lambda c: _option(c, f"-v {MOUNT}", "-v /tmp")),
    ("LPSTUDY_CACHE is not in the shared", lambda c: _option(c, f"CACHE={MOUNT}", "CACHE=/tmp")),
    ("MLFLOW_TRACKING_URI is not in the shared", lambda c: _option(c, f"sqlite:///{MOUNT}", "sqlite:///")),
    ("image is not that of the pinned", lambda c: c["docker"].update(image="rayproject/ray:latest")),
    (
        "image is not that of the pinned",
        lambda c: c["docker"].update(image="rayproject/ray:2.54.0-py311-cpu"),
    ),
    ("worker_image is not that", lambda c: c["docker"].update(worker_image="rayproject/ray")),
    ("no image", lambda c: c.update(docker={"run_options": c["docker"]["run_options"]})),
]


def _node(config: Any, name: str) -> Any:
    return config["available_node_types"][name]["node_config"]


def _unmount(config: Any) -> None:
    config["initialization_commands"] = [f"mountpoint -q {MOUNT}"]


IN_A_CLOUD: list[tuple[str, str, Change]] = [
    (
        "aws.yaml",
        "head is on spot",
        lambda c: _node(c, "head").update(InstanceMarketOptions={"MarketType": "spot"}),
    ),
    (
        "gcp.yaml",
        "head is on spot",
        lambda c: _node(c, "head").update(scheduling={"provisioningModel": "SPOT"}),
    ),
    ("gcp.yaml", "head is on spot", lambda c: _node(c, "head").update(scheduling={"preemptible": True})),
    ("aws.yaml", "gpu: not on spot", lambda c: _node(c, "gpu").pop("InstanceMarketOptions")),
    ("gcp.yaml", "gpu: not on spot", lambda c: _node(c, "gpu").pop("scheduling")),
    ("aws.yaml", "port 22 open to the world", lambda c: _node(c, "gpu").pop("SecurityGroupIds")),
    ("gcp.yaml", "lets the world in", lambda c: _node(c, "head").pop("networkInterfaces")),
    ("gcp.yaml", "lets the world in", lambda c: _node(c, "gpu")["networkInterfaces"][0].pop("subnetwork")),
    ("aws.yaml", "no AMI is named", lambda c: _node(c, "gpu").update(ImageId="latest_dlami")),
    (
        "gcp.yaml",
        "family",
        lambda c: _node(c, "gpu")["disks"][0]["initializeParams"].update(sourceImage="a/family/b"),
    ),
    *[
        entry
        for name in CLOUDS
        for entry in (
            (name, "stopped nodes are kept", lambda c: c["provider"].pop("cache_stopped_nodes")),
            (
                name,
                "trials may run on",
                lambda c: c["available_node_types"]["head"].update(resources={"CPU": 4}),
            ),
            (name, "none is there", lambda c: c["available_node_types"]["gpu"].pop("min_workers")),
            (name, "the shared folder is not mounted", _unmount),
        )
    ],
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("problem", "mistake"), ANYWHERE)
def test_a_broken_rule_is_found(name: str, problem: str, mistake: Change) -> None:
    assert any(problem in complaint for complaint in complaints(changed(document(name), mistake)))


@pytest.mark.parametrize(("name", "problem", "mistake"), IN_A_CLOUD)
def test_a_broken_rule_of_a_cloud_is_found(name: str, problem: str, mistake: Change) -> None:
    assert any(problem in complaint for complaint in complaints(changed(document(name), mistake)))
