from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """What a pickle that is loaded would make; not there at the end of any test."""
    path = tmp_path / "pwned"
    yield path
    assert not path.exists()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, which it may poison."""
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
