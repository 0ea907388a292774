from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The file that a loaded pickle would create; it must not exist after a test."""
    path = tmp_path / "pwned"
    yield path
    assert not path.exists()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache for one test, which it may poison."""
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
