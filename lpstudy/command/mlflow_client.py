"""The MLflow client of a sweep: connected, or unconnected while a resumed study continues without it."""

from argparse import Namespace
from dataclasses import replace

from lpstudy import terminal, tracking
from lpstudy.command.prepare import PreparedStudy
from lpstudy.command.provenance import data_facts
from lpstudy.command.study_ledgers import studies
from lpstudy.command.study_session import StudySession
from lpstudy.ledger import Ledger, dump
from lpstudy.tracking import Client, Projection

LAGS = "warning: MLflow lags behind, training continues:  "


def connect_client(args: Namespace, name: str) -> Client:
    """The MLflow client of a sweep; a resumed study continues without one while no server answers.

    Raises:
        ValueError: No server answers and the study is new, or the server or database cannot be used.
    """
    try:
        client = tracking.connect()
        tracking.check_files(client, name)
        return client
    except tracking.MlflowUnavailableError as away:
        if args.fresh or name not in studies(args.storage, args.ledger):
            raise
        terminal.say(f"{LAGS}{away}")
        return tracking.offline_client()


def make_projection(
    ledger: Ledger, prepared: PreparedStudy, client: Client, session: StudySession
) -> Projection:
    """The projection that writes the ledger to MLflow."""
    facts = replace(tracking.study_metadata(ledger), spec=dump(prepared.spec), data=data_facts(prepared))
    return Projection(client, ledger, facts, session.control.folder / "runs", session.is_held)
