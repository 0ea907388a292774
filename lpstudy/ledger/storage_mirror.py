"""A storage's studies held in memory by the one process that writes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lpstudy.ledger.address import display_url
from lpstudy.ledger.storage import engine_of, retry_while_locked

if TYPE_CHECKING:  # it takes long to import
    from lpstudy.ledger.optuna_storage import Storage


METRICS = ("validation accuracy in %", "MACs")
"""Names of the objectives, for Optuna's own tools."""


def open_study(storage: "Storage", name: str, objectives: int) -> optuna.Study:
    """The Optuna study of that name, made where it is new: it maximises accuracy, and then minimises MACs."""
    directions = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)[:objectives]

    def create() -> optuna.Study:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        if study.metric_names is None:
            study.set_metric_names(list(METRICS[:objectives]))
        return study

    return retry_while_locked(create, display_url(str(engine_of(storage).url)))


class StorageMirror:
    """Studies in memory that are equal to those of a storage, and the writes that keep them so.

    Optuna's questions (what has run, what to try, what to prune) are answered from memory. Only what another
    process must find is written to the storage, each change in one transaction, and before the copy shows it.

    Args:
        storage: Nothing else writes its trials.
        studies: Of the storage.
        intermediate: The values by step that a trial is pruned by; the storage has none.
    """

    def __init__(
        self,
        storage: "Storage",
        studies: Iterable[optuna.Study],
        intermediate: Callable[[FrozenTrial], dict[int, float]],
    ) -> None:
        self.storage = InMemoryStorage()
        """Holds the copies."""
        self._written = storage
        self._where = display_url(str(engine_of(storage).url))
        self._study_ids: dict[str, int] = {}
        self._trial_ids: dict[int, int] = {}
        trials: list[tuple[str, FrozenTrial]] = []
        for study in studies:
            name = study.study_name
            self._study_ids[name] = storage.get_study_id_from_name(name)
            copy = optuna.create_study(storage=self.storage, study_name=name, directions=study.directions)
            for key, value in study.user_attrs.items():
                copy.set_user_attr(key, value)
            trials += [(name, trial) for trial in study.get_trials(deepcopy=False)]
        for name, trial in sorted(
            trials, key=lambda pair: pair[1]._trial_id
        ):  # a copy has the same id each time
            trial.intermediate_values = intermediate(trial)
            made = self.storage.create_new_trial(self.storage.get_study_id_from_name(name), trial)
            self._trial_ids[made] = trial._trial_id

    def study(self, name: str) -> optuna.Study:
        """The copy of a study."""
        return optuna.load_study(study_name=name, storage=self.storage)

    def add(self, study: optuna.Study, trial_id: int) -> None:
        """Write a trial that was asked for, whole and once: the storage knows it by its number."""
        trial = self.storage.get_trial(trial_id)
        study_id = self._study_ids[study.study_name]
        self._trial_ids[trial_id] = retry_while_locked(
            lambda: self._written.create_new_trial(study_id, trial), self._where
        )

    def set_fact(self, study: optuna.Study, key: str, value: Any) -> None:
        """Set an attribute of a study."""
        study_id = self._study_ids[study.study_name]
        retry_while_locked(lambda: self._written.set_study_user_attr(study_id, key, value), self._where)
        study.set_user_attr(key, value)

    def set(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        written = self._trial_ids[trial_id]
        retry_while_locked(lambda: self._written.set_trial_user_attr(written, key, value), self._where)
        self.storage.set_trial_user_attr(trial_id, key, value)

    def set_epochs(
        self, trial_id: int, key: str, rows: Sequence[Mapping[str, Any]], values: Mapping[int, float]
    ) -> None:
        """Set the attribute that holds a trial's newest epochs; their values are for Optuna's own tools."""
        written = self._trial_ids[trial_id]
        retry_while_locked(lambda: self._written.set_epochs(written, key, rows, values), self._where)
        self.storage.set_trial_user_attr(trial_id, key, rows)

    def write_rungs(self, trial_id: int, known: Iterable[str]) -> None:
        """Write the attributes that a pruner has given a trial, but for those known."""
        written = self._trial_ids[trial_id]
        for key, value in self.storage.get_trial(trial_id).system_attrs.items():
            if key not in known:
                write = partial(self._written.set_trial_system_attr, written, key, value)
                retry_while_locked(write, self._where)

    def end(self, trial_id: int) -> None:
        """Write the end of a trial that was told."""
        trial, written = self.storage.get_trial(trial_id), self._trial_ids[trial_id]

        def write() -> None:
            if not self._written.get_trial(written).state.is_finished():  # by a try that seemed to fail
                self._written.set_trial_state_values(written, trial.state, trial.values)

        retry_while_locked(write, self._where)
