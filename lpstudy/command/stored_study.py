"""A study that has run: its results and the weights of its runs, from its folder or from MLflow."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lpstudy import tracking
from lpstudy.command.study_ledgers import ledger_engine, ledger_name, studies
from lpstudy.data import Data
from lpstudy.folder import Folder
from lpstudy.ledger import read_ledger
from lpstudy.model_file import DESCRIPTION, WEIGHTS, TrainedModel, load_model
from lpstudy.space import StudySpec
from lpstudy.tables import StudyFacts, StudyResults


@dataclass(frozen=True, eq=False, slots=True)
class StoredStudy:
    """A study's spec and results, and where the weights of its runs are."""

    spec: StudySpec
    results: StudyResults
    runs: Folder | None
    """The folder with a folder of each run; None where only MLflow has the study."""

    def facts_on(self, data: Data) -> StudyFacts:
        """The study's facts with the sizes of its data.

        Raises:
            ValueError: The data are not those of the study.
        """
        recorded = self.results.facts.provenance.get("data hash", "")
        if not data.fingerprint.startswith(recorded):
            raise ValueError(
                f"the data at hand are not those of the study: their hash is {data.fingerprint[:16]}, not"
                f" {recorded}"
            )
        return replace(
            self.results.facts,
            data=data.name,
            train_samples=len(data.train),
            validation_samples=len(data.validation),
            test_samples=len(data.test),
        )

    def load_weights(self, key: str) -> TrainedModel:
        """The network of a run, from its folder or else from MLflow.

        Args:
            key: The run's key, `<arm>/final-3-seed-1`.

        Raises:
            ValueError: The weights are in neither, or damaged.
            OSError: They cannot be read.
        """
        folder = None if self.runs is None else self.runs / key
        if folder is not None and WEIGHTS in folder.names():
            return load_model(f"{folder.url}/{WEIGHTS}")
        places = "" if folder is None else f"neither in {folder} nor "
        try:
            client = tracking.connect()
            with TemporaryDirectory() as copy:
                tracking.download_run(client, self.spec.name, key, (WEIGHTS, DESCRIPTION), Path(copy))
                return load_model(copy)
        except (*tracking.MLFLOW_ERRORS, ValueError, OSError) as error:
            reason = tracking.reason(error)
            raise ValueError(f"the weights of {key} are {places or 'not '}in MLflow: {reason}") from None


def stored_study(storage: Folder, ledger: str | None, name: str) -> StoredStudy:
    """A study from its ledger, or from MLflow where the storage folder has no such study.

    Raises:
        ValueError: Neither has it; or it has no teacher yet, and so no run.
    """
    existing = studies(storage, ledger)
    if name in existing:
        reader = read_ledger(ledger_engine(storage / name, ledger), ledger_name(name, ledger))
        return StoredStudy(reader.spec, tracking.ledger_results(reader), storage / name / "runs")
    try:
        found = tracking.read_study(tracking.connect(), name)
    except (*tracking.MLFLOW_ERRORS, ValueError) as error:
        where = "the ledger" if ledger is not None else str(storage)
        known = ", ".join(existing) or "none"
        raise ValueError(
            f"{where} has no study {name!r}; it has {known}; and not from MLflow: {tracking.reason(error)}"
        ) from None
    return StoredStudy(found.spec, found.results, None)
