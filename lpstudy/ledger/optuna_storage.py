"""Optuna's database storage for the one process that writes a study; readers read its rows directly."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    StudyModel,
    StudyUserAttributeModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialUserAttributeModel,
)
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session


class Storage(RDBStorage):
    """Optuna's storage, which creates no trial twice when the answer to the first write is lost."""

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        """Return the trial of the template's number if it exists: Optuna repeats this after a fault."""
        if template_trial is not None:
            trial_key = {"study_id": study_id, "number": template_trial.number}
            existing = session.query(TrialModel).filter_by(**trial_key).one_or_none()
            if existing is not None:
                return existing
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    def set_study_attributes(self, study_id: int, attributes: Mapping[str, Any]) -> None:
        """Set attributes of a study at once."""
        with _create_scoped_session(self.scoped_session, True) as session:
            for key, value in attributes.items():
                row = StudyUserAttributeModel.find_by_study_and_key(
                    StudyModel.find_or_raise_by_id(study_id, session), key, session
                )
                if row is None:
                    row = StudyUserAttributeModel(study_id=study_id, key=key)
                    session.add(row)
                row.value_json = json.dumps(value)

    def set_epochs(
        self, trial_id: int, key: str, rows: Sequence[Mapping[str, Any]], values: Mapping[int, float]
    ) -> None:
        """Set the attribute that holds a trial's newest epochs, and its intermediate values, at once.

        Args:
            trial_id: The trial's id.
            key: The attribute's name.
            rows: The epochs; lpstudy reads only these.
            values: Validation accuracy by epoch, for Optuna's own tools.
        """
        with _create_scoped_session(self.scoped_session, True) as session:
            self._set_trial_attr_without_commit(session, TrialUserAttributeModel, trial_id, key, list(rows))
            values_of_trial = session.query(TrialIntermediateValueModel).filter_by(trial_id=trial_id)
            values_of_trial.filter(TrialIntermediateValueModel.step.in_(list(values))).delete()
            for step, value in values.items():
                number, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
                session.add(
                    TrialIntermediateValueModel(
                        trial_id=trial_id,
                        step=step,
                        intermediate_value=number,
                        intermediate_value_type=kind,
                    )
                )
