"""A study that cannot answer its question says so before it runs."""

from pathlib import Path

import pytest
from commands import call, write_study

from lpstudy import plan
from lpstudy.command.claims import missing_claims
from lpstudy.space import parse

STUDY = {
    "name": "mine",
    "data": {"kind": "digits"},
    "teacher": {"family": "convnet", "depth": 2, "width": 8},
    "students": [{"family": "convnet", "depth": 2, "width": 4}],
    "methods": {"bp": {}, "kd": {}},
    "budget": {"trials": 2, "epochs": 1, "seeds": 3},
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        (
            {"methods": {"kd": {}, "lp": {}}},
            ["no [methods.bp]: no method is compared with plain back-prop"],
        ),
        ({"methods": {"bp": {}}}, ["one method alone (bp)"]),
        ({"budget": {"trials": 2, "epochs": 1, "seeds": 1}}, ["one seed: no interval"]),
        ({"budget": {"trials": 2, "epochs": 1, "seeds": 2}}, ["two seeds: "]),
        (
            {"students": [{"family": "convnet", "depth": {"low": 2, "high": 3}, "width": 4}]},
            ["depth or width of convnet is searched"],
        ),
        (
            {"methods": {"kd": {}}, "budget": {"trials": 2, "epochs": 1, "seeds": 1}},
            ["one method alone (kd)", "one seed: "],
        ),
    ],
)
def test_what_a_study_lacks_for_a_claim_is_said(changes, expected):
    lines = list(missing_claims(parse(STUDY | changes, "here")))
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)


def test_a_plan_says_it(tmp_path: Path) -> None:
    write_study(tmp_path)
    result = call(plan.main, tmp_path, "tiny.toml", "--seeds", "1")
    assert result.code == 0, result.err
    assert "one method alone (bp)" in result.out
    assert "one seed: no interval" in result.out
