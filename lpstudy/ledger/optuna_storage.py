"""Optuna's storage in a database, for the one process that writes a study; readers read its rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialModel, TrialUserAttributeModel
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session


class Storage(RDBStorage):
    """Optuna's, in which a trial that a lost answer has let be made is not made again."""

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        """In a transaction that holds the study, and that Optuna repeats after any fault."""
        if template_trial is not None:
            mine = {"study_id": study_id, "number": template_trial.number}
            made = session.query(TrialModel).filter_by(**mine).one_or_none()
            if made is not None:
                return made
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    def set_epochs(
        self, trial_id: int, key: str, rows: Sequence[Mapping[str, Any]], values: Mapping[int, float]
    ) -> None:
        """Set the attribute that holds a trial's newest epochs, and its intermediate values, at once.

        Args:
            trial_id: Of the trial.
            key: Of the attribute.
            rows: The epochs; lpstudy reads these alone.
            values: Validation accuracy by epoch, for Optuna's own tools.
        """
        with _create_scoped_session(self.scoped_session, True) as session:
            self._set_trial_attr_without_commit(session, TrialUserAttributeModel, trial_id, key, list(rows))
            of_trial = session.query(TrialIntermediateValueModel).filter_by(trial_id=trial_id)
            of_trial.filter(TrialIntermediateValueModel.step.in_(list(values))).delete()
            for step, value in values.items():
                stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
                session.add(
                    TrialIntermediateValueModel(
                        trial_id=trial_id,
                        step=step,
                        intermediate_value=stored,
                        intermediate_value_type=kind,
                    )
                )
