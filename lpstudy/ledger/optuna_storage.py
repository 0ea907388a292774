"""Optuna's storage in a database, for the one process that writes a study; readers read its rows."""

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel
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
