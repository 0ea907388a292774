"""`lpstudy plan` of every shipped study, on generated data of its kind."""

from pathlib import Path

import pytest
from commands import ROOT, call
from example_sets import make_cifar, make_mnist, make_tree

from lpstudy import plan
from lpstudy.space import find_study_file, read_study_file

NAMES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))


def write_data(kind: str, root: Path, patch: pytest.MonkeyPatch) -> None:
    match kind:
        case "mnist":
            make_mnist(root, count=1100)
        case "cifar10" | "cifar100":
            make_cifar(kind, root, patch)
        case "imagenet":
            make_tree(root, read_study_file(find_study_file("imagenet")).data, "val")
        case _:
            assert kind == "digits"


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_names_every_arm(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_study_file(find_study_file(name))
    write_data(spec.data.kind, tmp_path / "data", monkeypatch)
    result = call(plan.main, tmp_path, name, "--untimed", "--data-root", str(tmp_path / "data"))
    assert result.code == 0, result.err
    planned = [line.split()[0] for line in result.out.splitlines() if line.endswith("–")]
    assert planned == [arm.name for arm in spec.arms()]
    assert f"{len(planned)} arms x ({spec.budget.trials} trials + {spec.budget.seeds} finals)" in result.out
