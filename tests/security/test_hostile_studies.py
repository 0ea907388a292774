"""A study file is TOML of limited size and numbers; any other file is refused in one line."""

import os
from pathlib import Path

import pytest
from commands import call, error_line, files, write_study

from lpstudy import plan
from lpstudy.space import read_study_file
from lpstudy.space.study_toml import MAX_BYTES

STUDENT = 'family = "convnet"\ndepth = 2\nwidth = 2'
HUGE = 2**63 - 1


def refused(folder: Path, study: str) -> str:
    result = call(plan.main, folder, study)
    assert result.code == 2, result
    line = error_line(result)
    assert line.rstrip("\n").isprintable()
    return line


@pytest.mark.parametrize(
    "name", ["a.json", "a.yaml", "a.yml", "a.py", "a.pkl", "a.toml.json", "./a", "a.TOML"]
)
def test_a_path_that_is_no_toml_file_is_refused_unread(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("raise SystemExit(3)")
    assert "a path that ends in .toml" in refused(tmp_path, name)


@pytest.mark.parametrize(
    "name", ["a\0.toml", "\x1b[2J.toml", "x" * 300 + ".toml", "../../none.toml", "f.toml", "d.toml"]
)
def test_a_path_to_no_file_is_one_line(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.toml")  # would be read for ever
    (tmp_path / "d.toml").mkdir()
    assert refused(tmp_path, name).startswith("lpstudy plan: ")


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing, which takes no disk
    assert f"at most {MAX_BYTES} bytes" in refused(tmp_path, "big.toml")
    with pytest.raises(ValueError, match=r"/dev/zero: a study file has at most"):
        read_study_file(Path("/dev/zero"))


NOT_TOML = {
    "brackets": "a = " + "[" * 100_000,
    "a whole number beyond 64 bits": f"[budget]\ntrials = {2**63}",
    "one within a list": f"a = [[{-(2**70)}]]",
    "bytes that are no text": "\udcff",
    "pickle": "\udc80\x04\udc95",
    "JSON": '{"name": "x"}',
    "YAML": "!!python/object/apply:os.system [touch x]",
}


@pytest.mark.parametrize("case", NOT_TOML)
def test_a_file_that_is_no_study_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(NOT_TOML[case].encode("utf-8", "surrogateescape"))
    assert "bad.toml: " in refused(tmp_path, "bad.toml")
    assert files(tmp_path) == ["bad.toml"]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (STUDENT, STUDENT.replace("width = 2", f"width = {HUGE}"), "width"),
        (STUDENT, STUDENT.replace("depth = 2", f"depth = {HUGE}"), "depth"),
        (STUDENT, f'family = "wrn"\ndepth = 10\nwidth = {HUGE}', "width"),
        (STUDENT, f'family = "maxout"\ndepth = {HUGE}\nwidth = 1', "depth"),
        (STUDENT, STUDENT.replace("width = 2", f"width = {{ low = 1, high = {HUGE} }}"), "width"),
        ("depth = 2\nwidth = 4", f"depth = {HUGE}\nwidth = 4", "teacher"),
        ("[methods.bp]", f"[methods.lp]\nn_neighbors = {HUGE}", "n_neighbors"),
        ("epochs = 1\n", f"epochs = 1\nviews = {HUGE}\n", "views"),
    ],
)
def test_no_network_of_endless_size_is_started(old: str, new: str, word: str, tmp_path: Path) -> None:
    write_study(tmp_path, (old, new))
    assert word in refused(tmp_path, "tiny.toml")


def test_a_flag_is_held_to_the_largest_number_too(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    with pytest.raises(ValueError, match="trials: whole numbers are at most 9223372036854775807"):
        read_study_file(path, trials=2**63)
