"""Each form of RAY_ADDRESS names a head, or is refused in one line with the allowed forms."""

import time
from pathlib import Path

import pytest

from lpstudy.ray_cluster.cluster_address import cluster_address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where `ray start` stores the address of its head."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


@pytest.mark.parametrize("value", [None, "", "  ", "local", " local\n"])
def test_without_a_cluster_ray_is_started_here(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("RAY_ADDRESS", value)
    assert cluster_address() is None


@pytest.mark.parametrize(
    "value", ["10.0.0.1:6379", "head:1", "head-0.ns.svc:65535", "[::1]:6379", " head:6379 "]
)
def test_a_head_is_taken_as_it_is(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert cluster_address() == value.strip()


def test_auto_is_what_ray_start_has_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    (folder / "ray_current_cluster").write_text("127.0.0.1:6399\n")
    assert cluster_address() == "127.0.0.1:6399"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("auto", "`ray start` has not started Ray on this machine"),
        ("http://127.0.0.1:8265", "the address of a dashboard, which `ray job submit` wants"),
        ("https://head", "the address of a dashboard"),
        ("ray://127.0.0.1:10001", "Ray Client cannot run a sweep"),
        ("redis://head:6379", "not the address of a head"),
        ("::1:6379", "write an IPv6 address in brackets, [::1]:6379"),
        ("nonsense", "not the address of a head"),
        ("head", "not the address of a head"),
        ("head:", "not the address of a head"),
        (":6379", "not the address of a head"),
        ("head:ray", "not the address of a head"),
        ("head:0", "not the address of a head"),
        ("head:65536", "not the address of a head"),
        ("head:6379 other:6379", "not the address of a head"),
        ("LOCAL", "not the address of a head"),
        ("x" * 5000, "not the address of a head"),
    ],
)
def test_what_names_no_head_is_refused(value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    with pytest.raises(ValueError, match="RAY_ADDRESS=") as refused:
        cluster_address()
    message = str(refused.value)
    assert words in message
    assert "give HOST:PORT of the cluster's head" in message
    assert "unset it" in message
    assert len(message) < 500
    assert "\n" not in message


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "redis://user:secret@head:6379")
    with pytest.raises(ValueError, match="RAY_ADDRESS=") as refused:
        cluster_address()
    assert "secret" not in str(refused.value)


def test_a_file_of_ray_start_that_is_damaged_names_no_head(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    (folder / "ray_current_cluster").write_text("")
    start_time = time.monotonic()
    with pytest.raises(ValueError, match="has not started Ray"):
        cluster_address()
    assert time.monotonic() - start_time < 5
