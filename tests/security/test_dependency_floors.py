"""Versions with known vulnerabilities are excluded, and installed packages are pinned."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = {
    "ray": (2, 54),
    "mlflow": (3, 11),
    "torch": (2, 10),
}
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?P<rule>.*)")
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]


def canonical(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> dict[str, str]:
    """The version rule of each package in pyproject.toml, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirement_lines = [
        *project["dependencies"],
        *(one for group in project["optional-dependencies"].values() for one in group),
    ]
    matches = (REQUIREMENT.fullmatch(one.partition(";")[0].replace(" ", "")) for one in requirement_lines)
    return {canonical(one["name"]): one["rule"] for one in matches if one}


def release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


@pytest.mark.parametrize("name", FLOORS)
def test_versions_with_known_holes_are_excluded(name: str) -> None:
    (pin,) = (line for line in PINS if canonical(line.partition("==")[0]) == name)
    assert release(pin.partition("==")[2]) >= FLOORS[name]
    (floor,) = (rule for rule in requirements()[name].split(",") if rule.startswith(">="))
    assert release(floor) >= FLOORS[name]


def test_every_pin_is_exact() -> None:
    assert [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)] == []


def test_every_direct_dependency_is_pinned() -> None:
    pinned = {canonical(line.partition("==")[0]) for line in PINS}
    assert sorted(requirements().keys() - pinned) == []
