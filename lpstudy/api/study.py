"""`lpstudy.Study`: a study's plan, runs and results, from Python."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from lpstudy import environment, sweep
from lpstudy.api.errors import StudyStoppedError, plain_errors, plain_input_errors
from lpstudy.command.overview import Overview, read_overview
from lpstudy.command.prepare import prepare, resources_of
from lpstudy.command.stored_study import StoredStudy, stored_study
from lpstudy.command.study_ledgers import existing_study, ledger_engine, ledger_name
from lpstudy.command.study_session import GRACE
from lpstudy.export import epochs as epochs_table
from lpstudy.export import runs as runs_table
from lpstudy.ledger import LedgerReader, database_url, read_ledger
from lpstudy.locations import parse_folder, parse_path
from lpstudy.plan import make_timing, plan_arms
from lpstudy.space import StudySpec, import_files, read_study
from lpstudy.space.study_toml import IMPORTED
from lpstudy.tables import Interval, StudyResults
from lpstudy.tables.arms import ArmResult, mapping
from lpstudy.tables.choice import choose_arm, choose_final

if TYPE_CHECKING:
    from lpstudy.model_file import TrainedModel

Location = str | Path


@dataclass(frozen=True, slots=True)
class BestArm:
    """An arm's winner: the method and the student that a study recommends."""

    method: str
    student: str
    parameters: int
    macs: int
    test_accuracy: Interval
    """Over the seeds of the finals, in percent."""
    hyperparameters: Mapping[str, object]
    """Those of the winning trial."""


class Study:
    """A study: its plan, its runs, its results.

    Args:
        study: The name of a study file, a path that ends in .toml, the table of such a file, or its model.
        trials: Trials of each arm, instead of the file's.
        epochs: Epochs of each run, instead of the file's.
        seeds: Finals of each arm, instead of the file's.
        data_root: Folder of the data sets; see `lpstudy sweep --help` for this and the next ones.
        storage: Folder of ledger, checkpoints and weights.
        ledger: Address of a database with the ledger; None: a file in `storage`.
        reports: Folder of the reports.
        imports: Files and package folders with code of your own.

    Raises:
        ValueError: The study cannot be read; the message is one line.
    """

    def __init__(  # noqa: PLR0913  # keyword-only options
        self,
        study: str | Path | Mapping[str, Any] | StudySpec,
        *,
        trials: int | None = None,
        epochs: int | None = None,
        seeds: int | None = None,
        data_root: Location | None = None,
        storage: Location = "studies",
        ledger: str | None = None,
        reports: Location = "reports",
        imports: Sequence[Location] = (),
    ) -> None:
        table = _table(study)
        with plain_input_errors():
            environment.normalize_variables()
            self._flags = Namespace(
                study=table,
                trials=trials,
                epochs=epochs,
                seeds=seeds,
                data_root=None if data_root is None else parse_path(str(data_root)),
                storage=parse_folder(str(storage)),
                ledger=None if ledger is None else database_url(ledger),
                reports=parse_path(str(reports)),
                imports=[parse_path(str(path)) for path in imports],
            )
            imported = [code.load() for code in import_files(self._flags.imports)]
            self.spec = read_study(table, trials=trials, epochs=epochs, seeds=seeds, imported=imported)
            """The study's tables, with their defaults."""

    def __repr__(self) -> str:
        """The name and the number of arms."""
        return f"Study({self.name!r}, {len(self.spec.arms())} arms)"

    @property
    def name(self) -> str:
        """The study's name, which also names its folder, its report and its MLflow experiment."""
        return self.spec.name

    def plan(self, *, timed: bool = False) -> pd.DataFrame:
        """One row for each arm: its size, its number of runs, and where `timed`, seconds of one run.

        Raises:
            ValueError: The study does not fit its data, its networks or this machine.
        """
        with plain_input_errors():
            prepared = prepare(self._flags)
            resources_of(self._with_resources(), prepared)
            timing = make_timing(prepared, torch.device("cpu")) if timed else None
            rows = [asdict(arm) for arm in plan_arms(prepared, timing)]
        table = pd.DataFrame(rows).rename(columns={"trial": "trial_seconds", "final": "final_seconds"})
        of_time = ["trial_seconds", "final_seconds", "cpu", "training_macs"]
        return table if timed else table.drop(columns=of_time)

    def run(  # keyword-only options
        self,
        *,
        in_process: bool = True,
        fresh: bool = False,
        concurrent: int | None = None,
        gpus_per_trial: float = 0.0,
        workers_per_trial: int = 1,
    ) -> "Study":
        """Run the study, or resume it, and write its report; returns the study.

        An interrupt writes checkpoints; the next `run` resumes.

        Args:
            in_process: Train everything in this process; False: with Ray, on this machine or a cluster.
            fresh: Start a new study; the old one is archived under another name.
            concurrent: Trials at once with Ray; None: as many as fit.
            gpus_per_trial: GPUs of a trial's worker.
            workers_per_trial: Ray Train workers that share each batch.

        Raises:
            ValueError: The input cannot be used; nothing was started.
            StudyStoppedError: It stopped early, or no run finished.
        """
        flags = self._with_resources(
            in_process=in_process,
            fresh=fresh,
            grace=GRACE,
            concurrent=concurrent,
            gpus_per_trial=float(gpus_per_trial),
            workers_per_trial=workers_per_trial,
        )
        with plain_errors():
            code = sweep.run_study(flags, f"lpstudy.Study({self.name!r}).run(in_process={in_process})")
        if code:
            raise StudyStoppedError(f"no run of {self.name} finished: see .trials()['cause']")
        return self

    def status(self) -> Overview:
        """The state and the progress of each arm, from the ledger.

        Raises:
            ValueError: The study has not started.
        """
        with plain_input_errors():
            name = existing_study(self._flags.storage, self._flags.ledger, self.name)
            return read_overview(self._flags.storage, self._flags.ledger, name)

    def trials(self) -> pd.DataFrame:
        """One row for each trial, from the ledger: settings, end, and metrics of its last epoch.

        Raises:
            ValueError: The study has not started.
        """
        return self._runs("trial")

    def candidates(self) -> pd.DataFrame:
        """One row for each run of a candidate for the finals, from the ledger: see `trials`."""
        return self._runs("candidate")

    def finals(self) -> pd.DataFrame:
        """One row for each final, from the ledger: see `trials`."""
        return self._runs("final")

    def epochs(self) -> pd.DataFrame:
        """One row for each epoch of each run, from the ledger: all its metrics.

        Raises:
            ValueError: The study has not started.
        """
        return epochs_table(self._reader())

    def comparison(self) -> pd.DataFrame:
        """The report's table: the teacher, then each arm's winner with its intervals and differences.

        Raises:
            ValueError: The study has not started.
        """
        return self._results().comparison

    def best(
        self, *, method: str | None = None, student: str | None = None, under_macs: int | None = None
    ) -> BestArm:
        """The winner of the best arm by validation accuracy, among those that fit.

        Args:
            method: The name of a table of [methods]; None: any.
            student: A student's label, such as "convnet-d3-w4"; None: any.
            under_macs: Largest number of multiply-accumulates of an image; None: any.

        Raises:
            ValueError: No arm fits.
        """
        arm = self._arm(method, student, under_macs)
        final = choose_final(arm)
        return BestArm(
            method=arm.arm.method,
            student=arm.winner_label,
            parameters=int(final["parameters"]),
            macs=int(final["macs"]),
            test_accuracy=arm.accuracy,
            hyperparameters=dict(mapping(final["hyperparameters"])),
        )

    def student(
        self,
        *,
        method: str | None = None,
        student: str | None = None,
        under_macs: int | None = None,
        seed: int | None = None,
    ) -> "TrainedModel":
        """A trained student of the best arm (see `best`), in evaluation mode, for images in 0..1.

        Of its seeds the one with the median validation accuracy is taken, unless `seed` names another.

        Raises:
            ValueError: No arm fits, or its weights cannot be read.
        """
        arm = self._arm(method, student, under_macs)
        final = choose_final(arm, seed)
        key = f"{arm.arm.name}/final-{final['trial']}-seed-{final['seed']}"
        with plain_input_errors():
            return self._stored().load_weights(key)

    def _arm(self, method: str | None, student: str | None, under_macs: int | None) -> ArmResult:
        results = self._results()
        arms = results.arms
        return choose_arm(arms, method=method, student=student, under_macs=under_macs)

    def _results(self) -> StudyResults:
        return self._stored().results

    def _stored(self) -> StoredStudy:
        with plain_input_errors():
            return stored_study(self._flags.storage, self._flags.ledger, self.name)

    def _runs(self, kind: str) -> pd.DataFrame:
        table = runs_table(self._reader())
        rows = table[table["kind"].eq(kind)] if len(table) else table
        return rows.dropna(axis="columns", how="all").reset_index(drop=True)

    def _reader(self) -> LedgerReader:
        storage, ledger = self._flags.storage, self._flags.ledger
        with plain_input_errors():
            name = existing_study(storage, ledger, self.name)
            return read_ledger(ledger_engine(storage / name, ledger), ledger_name(name, ledger))

    def _with_resources(self, **values: object) -> Namespace:
        resources = {"gpus_per_trial": 0.0, "workers_per_trial": 1, "concurrent": None}
        return Namespace(**(vars(self._flags) | resources | values))


def _table(study: str | Path | Mapping[str, Any] | StudySpec) -> str | dict[str, Any]:
    """A study as `read_study` takes it."""
    match study:
        case StudySpec():
            table = study.model_dump(mode="json", exclude_none=True)
            table.pop(IMPORTED, None)
            return table
        case Mapping():
            return dict(study)
        case str() | Path():
            return str(study)
    raise ValueError(f"a study is a name, a path, a table or a StudySpec, not {type(study).__name__}")
