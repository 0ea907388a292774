"""What is imported where it is used: the tests of the core, a GPU's among them, need the core alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import lanes
import pytest

if TYPE_CHECKING:
    from postgres_server import Postgres
    from running import Left

TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Know the settings of plugins that a machine with the core alone may lack."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "seconds that pytest-timeout gives a test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the lane of faults, and begin with the slowest files."""
    paths = {item.path: item.path.relative_to(TESTS).as_posix() for item in items}
    for item in items:
        if lanes.is_of_faults(paths[item.path]):
            item.add_marker(pytest.mark.faults)
    items.sort(key=lambda item: lanes.rank(paths[item.path]))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps decoded images of a session in a folder of its own, away from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPSTUDY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def own_store_and_machine() -> Iterator[None]:
    """Keeps studies from a tracking server and a cluster that the user's environment names."""
    from user_settings import UNSET

    with pytest.MonkeyPatch.context() as patch:
        for name in UNSET:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, Left]":
    """The working directory of one `python -m lpstudy.sweep smoke` that has ended, and what it said."""
    from running import run

    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, "sweep", "smoke")


@pytest.fixture(scope="session")
def server() -> "Iterator[Postgres]":
    """A PostgreSQL server."""
    from postgres_server import postgres

    with postgres() as started:
        yield started


@pytest.fixture(scope="session")
def empty_database(server: "Postgres") -> str:
    """Name of a PostgreSQL database in which a ledger's tables are made: a template for others."""
    from lpstudy.ledger import open_storage

    url = server.database()
    open_storage(url).engine.dispose()
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: MNIST/raw, cifar10/{train,test}, tiny_imagenet25/{train,val}."""
    folder = os.environ.get("LPSTUDY_TEST_DATA")
    if not folder:
        pytest.skip("LPSTUDY_TEST_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has made; that takes seconds."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path
