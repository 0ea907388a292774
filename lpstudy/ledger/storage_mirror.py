"""A copy in memory of a storage's studies, for the one process that writes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lpstudy.ledger.address import display_url
from lpstudy.ledger.retry import retry_while_locked
from lpstudy.ledger.storage import engine_of

if TYPE_CHECKING:  # it takes long to import
    from lpstudy.ledger.optuna_storage import Storage


METRICS = ("validation accuracy in %", "MACs")
"""Names of the objectives, for Optuna's own tools."""


def open_study(storage: "Storage", name: str, objectives: int) -> optuna.Study:
    """Open or create an Optuna study that maximises accuracy and, with two objectives, minimises MACs."""
    directions = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)[:objectives]

    def create() -> optuna.Study:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        if study.metric_names is None:
            study.set_metric_names(list(METRICS[:objectives]))
        return study

    return retry_while_locked(create, display_url(str(engine_of(storage).url)))


def set_facts(storage: "Storage", study: optuna.Study, facts: Mapping[str, Any]) -> None:
    """Set attributes of a storage's study of that name in one transaction."""
    study_id = storage.get_study_id_from_name(study.study_name)
    address = display_url(str(engine_of(storage).url))
    retry_while_locked(lambda: storage.set_study_attributes(study_id, facts), address)


class StorageMirror:
    """Studies in memory that equal those of a storage, and the writes that keep them equal.

    Optuna's samplers and pruners read from memory. Only what another process needs is written to the storage,
    each change in one transaction, before the copy changes.

    Args:
        storage: The storage; nothing else writes its trials.
        studies: The storage's studies.
        intermediate: A trial's values by step for Optuna's pruner, which reads none of two objectives.
    """

    def __init__(
        self,
        storage: "Storage",
        studies: Iterable[optuna.Study],
        intermediate: Callable[[FrozenTrial], dict[int, float]],
    ) -> None:
        self.storage = InMemoryStorage()
        """The copies in memory."""
        self._database = storage
        self._address = display_url(str(engine_of(storage).url))
        self._study_ids: dict[str, int] = {}
        self._trial_ids: dict[int, int] = {}
        trials: list[tuple[str, FrozenTrial]] = []
        for study in studies:
            name = study.study_name
            self._study_ids[name] = storage.get_study_id_from_name(name)
            copy = optuna.create_study(storage=self.storage, study_name=name, directions=study.directions)
            for key, value in study.user_attrs.items():
                copy.set_user_attr(key, value)
            has_one_objective = len(study.directions) == 1
            for trial in study.get_trials(deepcopy=False):
                trial.intermediate_values = intermediate(trial) if has_one_objective else {}
                trials.append((name, trial))
        # In order of the ids, so that a copy has the same id each time.
        for name, trial in sorted(trials, key=lambda pair: pair[1]._trial_id):
            copy_id = self.storage.create_new_trial(self.storage.get_study_id_from_name(name), trial)
            self._trial_ids[copy_id] = trial._trial_id

    def study(self, name: str) -> optuna.Study:
        """The copy in memory of a study."""
        return optuna.load_study(study_name=name, storage=self.storage)

    def add(self, study: optuna.Study, trial_id: int) -> None:
        """Write a new trial with all its values; the storage identifies it by its number, so never twice."""
        trial = self.storage.get_trial(trial_id)
        study_id = self._study_ids[study.study_name]
        self._trial_ids[trial_id] = retry_while_locked(
            lambda: self._database.create_new_trial(study_id, trial), self._address
        )

    def set_facts(self, study: optuna.Study, facts: Mapping[str, Any]) -> None:
        """Set attributes of a study in one transaction."""
        set_facts(self._database, study, facts)
        for key, value in facts.items():
            study.set_user_attr(key, value)

    def set(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        database_id = self._trial_ids[trial_id]
        retry_while_locked(lambda: self._database.set_trial_user_attr(database_id, key, value), self._address)
        self.storage.set_trial_user_attr(trial_id, key, value)

    def set_epochs(
        self, trial_id: int, key: str, rows: Sequence[Mapping[str, Any]], values: Mapping[int, float]
    ) -> None:
        """Set the attribute that holds a trial's newest epochs; their values are for Optuna's own tools."""
        database_id = self._trial_ids[trial_id]
        retry_while_locked(lambda: self._database.set_epochs(database_id, key, rows, values), self._address)
        self.storage.set_trial_user_attr(trial_id, key, rows)

    def write_rungs(self, trial_id: int, previous_keys: Iterable[str]) -> None:
        """Write a trial's system attributes whose keys are new, for example a pruner's rungs."""
        database_id = self._trial_ids[trial_id]
        for key, value in self.storage.get_trial(trial_id).system_attrs.items():
            if key not in previous_keys:
                write = partial(self._database.set_trial_system_attr, database_id, key, value)
                retry_while_locked(write, self._address)

    def end(self, trial_id: int) -> None:
        """Write the end of a trial that has ended in memory."""
        trial, database_id = self.storage.get_trial(trial_id), self._trial_ids[trial_id]

        def write() -> None:
            if not self._database.get_trial(database_id).state.is_finished():  # an attempt may have succeeded
                self._database.set_trial_state_values(database_id, trial.state, trial.values)

        retry_while_locked(write, self._address)
