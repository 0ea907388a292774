"""`lpstudy plan` of every shipped study, on generated data of its kind."""

from pathlib import Path

import pytest
from commands import ROOT, call
from example_sets import make_cifar, make_mnist, make_tree

from lpstudy import plan
from lpstudy.space import find_study_file, read_study_file

NAMES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))
PAIRS = [name for name in NAMES if name.startswith("cifar100_")]
"""The ten standard pairs of the published tables."""


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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.faults] * (name in PAIRS[1:])) for name in NAMES]
)
def test_a_plan_names_every_arm(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_study_file(find_study_file(name))
    write_data(spec.data.kind, tmp_path / "data", monkeypatch)
    result = call(plan.main, tmp_path, name, "--untimed", "--data-root", str(tmp_path / "data"))
    assert result.code == 0, result.err
    planned = [line.split()[0] for line in result.out.splitlines() if line.endswith("–")]
    assert planned == [arm.name for arm in spec.arms()]
    candidates = "" if 1 in (spec.finals.candidates, spec.budget.trials) else " + 9 of candidates"
    runs = f"{spec.budget.trials} trials{candidates} + {spec.budget.seeds} finals"
    assert f"{len(planned)} arms x ({runs}" in result.out


def published_table() -> dict[str, list[str]]:
    """The rows of the CIFAR-100 table in docs/published.md: ten columns, then the source."""
    lines = (ROOT / "docs/published.md").read_text("utf-8").splitlines()
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: row[1:] for row in rows if len(row) == 12}


def test_the_pairs_have_the_published_figures() -> None:
    table = published_table()
    heads = {
        "teacher": "teacher", "bp": "student alone", "kd": "KD", "fitnet": "FitNet", "at": "AT", "sp": "SP",
        "rkd": "RKD", "pkt": "PKT", "crd": "CRD", "dkd": "DKD*", "reviewkd": "ReviewKD", "dist": "DIST",
        "kd_standardized": "KD, standardised logits*", "wttm": "WTTM",
    }  # fmt: skip
    columns: dict[tuple[str, ...], str] = {}
    for column in range(10):
        cells = tuple(table[head][column] for head in heads.values())
        columns[cells] = "ABCDEFGHIJ"[column]
    seen = set()
    for name in PAIRS:
        spec = read_study_file(find_study_file(name))
        values = {result.method: f"{result.value:.2f}" for result in spec.published}
        seen.add(columns[tuple(values.get(method, "") for method in heads)])
        stars = {result.method for result in spec.published if "best test epoch" in result.note}
        assert stars == {"dkd", "kd_standardized"} & values.keys()
    assert seen == set("ABCDEFGHIJ")


def test_the_pairs_differ_in_their_networks_rates_and_published_settings_alone() -> None:
    specs = [read_study_file(find_study_file(name)) for name in PAIRS]
    same = [
        spec.model_copy(update={"name": "", "students": (), "published": ()}).model_dump(
            exclude={
                "teacher": {"family", "depth", "width", "learning_rate"},
                "methods": True,
                "training": {"learning_rate"},
            }
        )
        for spec in specs
    ]
    assert len({str(table) for table in same}) == 1
    ranges = [
        {
            arm.method: {key: value for key, value in arm.hyperparameters.items() if key != "learning_rate"}
            for arm in spec.arms()
        }
        for spec in specs
    ]
    assert len({str(table) for table in ranges}) == 1
