"""Retries of transactions: which database errors are waited out."""

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError

from lpstudy.ledger import UnwritableError, retry
from lpstudy.ledger.retry import (
    EXACTLY_ONCE,
    WHILE_OPENING,
    Fault,
    RefusedError,
    classify,
    retry_while_locked,
)


def error(
    message: str,
    kind: type[DBAPIError] = OperationalError,
    statement: str | None = "UPDATE",
    lost: bool = False,
) -> DBAPIError:
    return kind(statement, {}, Exception(message), connection_invalidated=lost)


UNREACHABLE = error("connection failed: Connection refused")
REFUSED = error('connection failed: FATAL:  password authentication failed for user "me"')
STARTING = error("connection failed: FATAL:  the database system is starting up")


@pytest.mark.parametrize(
    ("cause", "fault"),
    [
        (error("database is locked"), Fault.LOCKED),
        (error("deadlock detected"), Fault.LOCKED),
        (error("server closed the connection", lost=True), Fault.LOST),
        (error("server closed the connection", statement=None, lost=True), Fault.LOST_AT_COMMIT),
        (UNREACHABLE, Fault.UNREACHABLE),
        (REFUSED, Fault.REFUSED),
        (STARTING, Fault.STARTING),
        (error("database or disk is full"), Fault.BROKEN),
        (error("attempt to write a readonly database"), Fault.BROKEN),
        (error("cannot execute UPDATE in a read-only transaction", InternalError), Fault.BROKEN),
        (error("UNIQUE constraint failed: a table is locked", IntegrityError), Fault.STATEMENT),
    ],
)
def test_an_error_has_one_kind_also_within_optunas(cause: DBAPIError, fault: Fault) -> None:
    wrapped = StorageInternalError("An exception is raised during the commit.")
    wrapped.__cause__ = cause
    assert classify(cause) is classify(wrapped) is fault


class Transaction:
    """A transaction that fails a number of times."""

    def __init__(self, failure: Exception, failures: int = 1) -> None:
        self.failure, self.failures, self.attempts = failure, failures, 0

    def __call__(self) -> str:
        self.attempts += 1
        if self.attempts <= self.failures:
            raise self.failure
        return "written"


@pytest.mark.parametrize("failure", [error("database is locked"), UNREACHABLE, STARTING])
def test_a_transaction_is_repeated_until_it_succeeds(failure: Exception) -> None:
    transaction = Transaction(failure, failures=2)
    assert retry_while_locked(transaction, "ledger.db") == "written"
    assert transaction.attempts == 3


@pytest.mark.parametrize(
    ("failure", "faults"),
    [
        (error("connection reset", statement=None, lost=True), EXACTLY_ONCE),
        (UNREACHABLE, WHILE_OPENING),
        (error("database or disk is full"), retry.WHILE_RUNNING),
    ],
)
def test_other_faults_end_it_at_once_and_need_repair(failure: Exception, faults: frozenset[Fault]) -> None:
    transaction = Transaction(failure)
    with pytest.raises(UnwritableError, match=r"the ledger ledger\.db cannot be written: ") as caught:
        retry_while_locked(transaction, "ledger.db", faults=faults)
    assert caught.value.needs_repair
    assert transaction.attempts == 1


def test_a_refusal_has_an_error_of_its_own() -> None:
    with pytest.raises(RefusedError, match="password authentication failed"):
        retry_while_locked(Transaction(REFUSED), "postgresql://host/db")


def test_a_lock_that_stays_needs_no_repair() -> None:
    with pytest.raises(UnwritableError, match="database is locked") as caught:
        retry_while_locked(Transaction(error("database is locked"), failures=99), "ledger.db", seconds=0.2)
    assert not caught.value.needs_repair


def test_an_error_of_the_statement_is_raised_as_it_is() -> None:
    failure = error("UNIQUE constraint failed", IntegrityError)
    with pytest.raises(IntegrityError) as caught:
        retry_while_locked(Transaction(failure), "ledger.db")
    assert caught.value is failure
