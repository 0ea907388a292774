"""A study file becomes arms, arms become runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lpstudy.ledger import dump
from lpstudy.methods.kd import KD
from lpstudy.methods.lp import LP
from lpstudy.space import (
    Choices,
    Range,
    StudentSpec,
    StudySpec,
    arm_definitions,
    changed_arms,
    changed_settings,
    find_study_file,
    known_studies,
    parse,
    read_study_file,
)


@pytest.fixture
def study(study_file: Path) -> StudySpec:
    return read_study_file(study_file)


def test_an_arm_is_a_method_on_a_student(study: StudySpec) -> None:
    names = [arm.name for arm in study.arms()]
    assert names == ["bp-convnet-d2-w8", "kd-convnet-d2-w8", "lp-convnet-d2-w8", "bp-wrn", "kd-wrn", "lp-wrn"]


def test_only_arms_with_a_searched_size_have_two_objectives(study: StudySpec) -> None:
    assert [arm.objectives for arm in study.arms()] == [1, 1, 1, 2, 2, 2]


def test_what_is_searched_are_the_ranges_of_student_method_and_training(study: StudySpec) -> None:
    *_, arm = study.arms()
    assert arm.searched == {
        "depth": Range(low=10, high=22, step=6),
        "width": Choices(choices=(1, 2)),
        "n_neighbors": Range(low=1, high=5),
        "learning_rate": Range(low=2e-3, high=2e-2, log=True),
    }
    assert arm.fixed["gamma"] == 0.02
    assert arm.fixed["bandwidth"] == LP().bandwidth
    assert arm.fixed["batch_size"] == 50
    assert arm.fixed["optimizer"] == "adam"


def test_every_arm_searches_the_training_alike_and_back_propagation_too(study: StudySpec) -> None:
    assert all("learning_rate" in arm.searched for arm in study.arms())


def test_a_range_has_the_type_of_the_field_and_not_of_its_ends(study: StudySpec) -> None:
    arms = {arm.name: arm for arm in study.arms()}
    assert not arms["kd-wrn"].integer("temperature")  # low = 1, high = 6
    assert not arms["kd-wrn"].integer("learning_rate")
    assert arms["lp-wrn"].integer("n_neighbors")
    assert arms["lp-wrn"].integer("depth")
    assert arms["lp-wrn"].integer("batch_size")


def test_resolve_gives_the_run_of_the_searched_values(study: StudySpec) -> None:
    *_, arm = study.arms()
    values = {"depth": 16, "width": 2, "n_neighbors": 4, "learning_rate": 0.01}
    trial = arm.resolve(values, epochs=7, seed=3)
    assert trial.student == StudentSpec(family="wrn", depth=16, width=2)
    assert trial.method == LP(n_neighbors=4, gamma=0.02)
    assert trial.training.learning_rate == 0.01
    assert trial.training.batch_size == 50
    assert (trial.epochs, trial.seed) == (7, 3)


def test_a_design_that_is_fixed_needs_no_values_but_the_methods(study: StudySpec) -> None:
    arm = study.arms()[1]
    trial = arm.resolve({"temperature": 2.5, "learning_rate": 0.01}, epochs=1, seed=0)
    assert trial.student == StudentSpec(family="convnet", depth=2, width=8)
    assert trial.method == KD(temperature=2.5)


START = ["methods.lp.start.0.n_neighbors: nothing -> 2"]


def changes(before: StudySpec, after: StudySpec) -> list[str]:
    """All differences between two versions of a study."""
    arms = changed_arms(arm_definitions(before), arm_definitions(after))
    return changed_settings(before, after) + arms


def test_a_run_travels_as_json(study: StudySpec) -> None:
    arm = study.arms()[1]
    trial = arm.resolve({"temperature": 2.0, "learning_rate": 0.01}, epochs=1, seed=0)
    assert type(trial).model_validate_json(trial.model_dump_json()) == trial


def test_dump_and_parse_give_the_study_again(study: StudySpec) -> None:
    assert parse(json.loads(json.dumps(dump(study))), "here") == study
    assert changed_settings(parse(json.loads(json.dumps(dump(study))), "here"), study) == []


def test_the_name_is_the_files_where_none_is_given(study_file: Path, study_text: str) -> None:
    study_file.write_text(study_text.replace('name = "mine"', ""))
    assert read_study_file(study_file.rename(study_file.with_name("other.toml"))).name == "other"


def test_flags_override_the_budget_alone(study_file: Path) -> None:
    study = read_study_file(study_file, trials=3, epochs=2, seeds=4)
    assert (study.budget.trials, study.budget.epochs, study.budget.seeds) == (3, 2, 4)
    assert changed_settings(read_study_file(study_file), study) == ["budget.epochs: 30 -> 2"]


def test_a_flag_is_held_to_the_same_rule(study_file: Path) -> None:
    with pytest.raises(ValueError, match=r"budget\.trials: .* greater than or equal to 1 but got 0"):
        read_study_file(study_file, trials=0)


def test_more_trials_seeds_and_hours_are_no_difference(
    study: StudySpec, changed: Callable[..., StudySpec]
) -> None:
    assert changed_settings(study, changed(("trials = 8", "trials = 9\nseeds = 30\nhours = 2"))) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("epochs = 30", "epochs = 31", ["budget.epochs: 30 -> 31"]),
        ("pad = 1", "pad = 2", ["data.pad: 1 -> 2"]),
        ("width = 32", "width = 16", ["teacher.width: 32 -> 16"]),
        ("high = 22, step", "high = 16, step", ["students.wrn.depth.high: 22 -> 16"]),
        ("high = 6 }", "high = 7 }", ["methods.kd.temperature.high: 6 -> 7"]),
        ("gamma = 0.02", "", ["methods.lp.gamma: 0.02 -> nothing"]),
        ("batch_size = 50", "batch_size = 64", ["training.batch_size: 50 -> 64"]),
        ("max_macs = 1000000", "", ["constraints.max_macs: 1000000 -> None"]),
        ("[methods.lp]", "[methods.lp]\nstart = [{ n_neighbors = 2 }]", START),
        (
            "[constraints]\n",
            '[cost]\nlatency = ["cpu-n"]\n[constraints]\nmax_latency_ms = 5.0\n',
            [
                "constraints.max_latency_ms: None -> 5.0",
                "cost.latency: with its defaults -> nothing",
                "cost.latency.0: nothing -> cpu-n",
            ],
        ),
        ("[constraints]", '[search]\nsampler = "gp"\n[constraints]', ["search.sampler: tpe -> gp"]),
    ],
)
def test_every_other_change_is_named(
    old: str, new: str, expected: list[str], study: StudySpec, changed: Callable[..., StudySpec]
) -> None:
    assert changes(study, changed((old, new))) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width = 8", "width = 9"),  # another student
        ("[methods.bp]", ""),
        ("[constraints]", '[cost]\nlatency = ["cpu-1"]\n[constraints]'),
        ("[methods.bp]", "[methods.bp]\n[methods.fitnet]"),
        ('[[students]]\nfamily = "wrn"', '[[students]]\nfamily = "wrn"\nmethods = ["kd"]'),
    ],
)
def test_other_arms_are_no_difference(
    old: str, new: str, study: StudySpec, changed: Callable[..., StudySpec]
) -> None:
    assert changes(study, changed((old, new))) == []


def test_a_study_is_found_by_name_in_the_working_directory(
    study_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "search_spaces"
    folder.mkdir()
    (folder / "my-own_1.toml").write_text(study_text)
    assert find_study_file("my-own_1").resolve() == folder / "my-own_1.toml"
    assert "my-own_1" in known_studies()
    assert find_study_file("search_spaces/my-own_1.toml").resolve() == folder / "my-own_1.toml"


def test_the_studies_that_come_along_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "digits" in known_studies()
    assert read_study_file(find_study_file("digits")).data.kind == "digits"


def test_an_unknown_study_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown study 'digit'; known are .*digits"):
        find_study_file("digit")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../digits", "/etc/passwd", "a\nb", "é", "x" * 300])
def test_what_cannot_be_a_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="is not a study name") as error:
        find_study_file(name)
    assert str(error.value).isprintable()


def test_a_path_to_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.toml: no such file"):
        find_study_file(str(tmp_path / "nothing.toml"))


@pytest.mark.parametrize("name", sorted(set(known_studies())))
def test_every_study_that_comes_along_is_valid(name: str) -> None:
    assert read_study_file(find_study_file(name)).arms()


def test_a_byte_order_mark_is_no_part_of_the_study(study_file: Path) -> None:
    plain = read_study_file(study_file)
    study_file.write_bytes(b"\xef\xbb\xbf" + study_file.read_bytes())
    assert read_study_file(study_file) == plain


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_refused_by_name(study_file: Path, encoding: str) -> None:
    text = "\ufeff" * (encoding == "utf-16-be") + study_file.read_text("utf-8")
    study_file.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=r"\.toml: is UTF-16: save it as UTF-8"):
        read_study_file(study_file)
