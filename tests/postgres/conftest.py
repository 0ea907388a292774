from collections.abc import Iterator

import pytest
from postgres_server import Postgres


@pytest.fixture
def url(server: Postgres, empty_database: str) -> Iterator[str]:
    """Of a PostgreSQL database with a ledger's tables, of the test's own."""
    made = server.database(empty_database)
    yield made
    server.drop(made)
