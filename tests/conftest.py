"""Fixtures of all tests; their imports are local, since tests of the core need the core's packages alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import lanes
import pytest

if TYPE_CHECKING:
    from commands import CommandResult
    from postgres_server import Postgres

TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the settings of plugins that a machine with the core alone may lack."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "seconds that pytest-timeout gives a test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the lane of faults, and sort the slowest files first."""
    paths = {item.path: item.path.relative_to(TESTS).as_posix() for item in items}
    for item in items:
        if lanes.is_of_faults(paths[item.path]):
            item.add_marker(pytest.mark.faults)
    items.sort(key=lambda item: lanes.rank(paths[item.path]))


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the session's decoded images in a temporary folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPSTUDY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def no_user_settings() -> Iterator[None]:
    """Unset the variables that name the user's tracking server and cluster."""
    from user_settings import UNSET

    with pytest.MonkeyPatch.context() as patch:
        for name in UNSET:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, CommandResult]":
    """The working directory and the result of `python -m lpstudy.sweep smoke --in-process`."""
    from commands import run

    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, "sweep", "smoke", "--in-process")


@pytest.fixture(scope="session")
def server() -> "Iterator[Postgres]":
    """A PostgreSQL server."""
    from postgres_server import postgres

    with postgres() as started:
        yield started


@pytest.fixture(scope="session")
def empty_database(server: "Postgres") -> str:
    """Name of a PostgreSQL database with a ledger's empty tables: a template for others."""
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
    """An empty MLflow database, whose creation takes seconds."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path
