from collections.abc import Iterator

import pytest
from postgres_server import Postgres


@pytest.fixture
def url(server: Postgres, empty_database: str) -> Iterator[str]:
    """The URL of a new PostgreSQL database with a ledger's tables."""
    database_url = server.database(empty_database)
    yield database_url
    server.drop(database_url)
