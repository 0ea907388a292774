"""Fixtures of the tests of deployment: a network, and a deployed study."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import CommandResult, call
from deployments import Deployed, network, short_latency

from lpstudy import deploy
from lpstudy.model_file import TrainedModel
from lpstudy.students import StudentSpec


@pytest.fixture(scope="session")
def trained() -> TrainedModel:
    """A network with random weights for images of 16 pixels."""
    return network(StudentSpec(family="convnet", depth=3, width=4))


@pytest.fixture
def fast_clock() -> Iterator[None]:
    """Latency is measured in few runs."""
    with short_latency():
        yield


@pytest.fixture(scope="session")
def deployed(smoke: tuple[Path, CommandResult], tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The study `smoke`, deployed with int8 and registered."""
    folder = tmp_path_factory.mktemp("deployed") / "kd"
    flags = ["smoke", "--method", "kd", "--int8", "--register", "--out", str(folder)]
    with short_latency():
        result = call(deploy.main, smoke[0], *flags)
    assert result.code == 0, result.err
    return Deployed(smoke[0], folder, result)
