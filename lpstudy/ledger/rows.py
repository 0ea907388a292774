"""A study read from a ledger's database row by row: what is not as lpstudy writes it is named and refused."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Column, Connection, Engine, MetaData, Table, inspect, select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.types import NULLTYPE

from lpstudy.damage import DamagedError
from lpstudy.ledger import row_models as models

DIRECTIONS = ("MAXIMIZE", "MINIMIZE")
"""Of validation accuracy, and of MACs where the size is searched."""
_TABLES = MetaData()


def _table(name: str, *columns: str) -> Table:
    """One of Optuna's tables, its values as they are."""
    return Table(name, _TABLES, *(Column(column, NULLTYPE) for column in columns))


_STUDIES = _table("studies", "study_id", "study_name")
_STUDY_DIRECTIONS = _table("study_directions", "study_id", "objective", "direction")
_STUDY_ATTRIBUTES = _table("study_user_attributes", "study_id", "key", "value_json")
_TRIALS = _table("trials", "trial_id", "study_id", "number", "state", "datetime_start", "datetime_complete")
_VALUES = _table("trial_values", "trial_id", "objective", "value", "value_type")
_PARAMETERS = _table("trial_params", "param_id", "trial_id", "param_name", "param_value", "distribution_json")
_ATTRIBUTES = _table("trial_user_attributes", "trial_id", "key", "value_json")


@dataclass(slots=True)
class StoredStudy:
    """One of the Optuna studies of a study, as Optuna shows it: facts, an arm's search, or its finals."""

    study_name: str
    objectives: int = 0
    user_attrs: dict[str, Any] = field(default_factory=dict)
    trials: list[FrozenTrial] = field(default_factory=list)

    def get_trials(
        self, deepcopy: bool = True, states: Collection[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in order, of some states alone where they are named; never copied."""
        del deepcopy
        return [trial for trial in self.trials if states is None or trial.state in states]


def read_study_names(engine: Engine) -> list[str]:
    """Every study of a database, in order; none where it is no ledger.

    Raises:
        DamagedError: A name is none.
    """
    if not inspect(engine).has_table(_STUDIES.name):
        return []
    with _texts(engine) as connection:
        found = [name for (name,) in connection.execute(select(_STUDIES.c.study_name))]
    for name in found:
        if not isinstance(name, str):
            raise DamagedError("the ledger", "", "study_name", f"must be text but is {type(name).__name__}")
    return sorted(name for name in found if "/" not in name)


def read_rows(engine: Engine, study: str) -> list[StoredStudy]:
    """A study's Optuna studies in the order in which they were made: its facts, then the arms'.

    What a running study writes meanwhile is seen or not, but no end is seen without what it rests on.

    Raises:
        KeyError: The database has no such study.
        DamagedError: A row is not as lpstudy writes it.
    """
    name = _STUDIES.c.study_name
    mine = (name == study) | name.startswith(f"{study}/", autoescape=True)
    try:
        with _texts(engine) as connection:
            query = select(_STUDIES.c.study_id, name).where(mine).order_by(_STUDIES.c.study_id)
            studies = {number: StoredStudy(own) for number, own in connection.execute(query)}
            if all(one.study_name != study for one in studies.values()):
                raise KeyError(study)
            _Reader(connection, study, studies).read()
    except (OperationalError, ProgrammingError):
        if inspect(engine).has_table(_STUDIES.name):
            raise
        raise KeyError(study) from None
    return sorted(studies.values(), key=lambda one: one.study_name != study)


@contextmanager
def _texts(engine: Engine) -> Iterator[Connection]:
    """A connection that gives bytes that are no text as surrogates, which no model takes."""
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        if engine.dialect.name != "sqlite":
            yield connection
            return
        before = raw.text_factory
        raw.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        try:
            yield connection
        finally:
            raw.text_factory = before


class _Reader:
    """Fills the studies.

    Args:
        connection: To the database.
        study: Whose rows they are.
        studies: By their ids.
    """

    def __init__(self, connection: Connection, study: str, studies: dict[int, StoredStudy]) -> None:
        self._connection, self._study, self._studies = connection, study, studies
        self._trials: dict[int, FrozenTrial] = {}
        self._names: dict[int, str] = {}
        self._objectives: dict[int, int] = {}

    def read(self) -> None:
        """Each trial before what belongs to it, so that no end is seen without what it rests on."""
        for number, objective, direction in self._rows(_STUDY_DIRECTIONS):
            study = self._studies[number]
            if objective not in (0, 1) or direction != DIRECTIONS[objective]:
                raise self._damaged("direction", f"objective {objective!r:.20} is {direction!r:.20}", study)
            study.objectives += 1
        for number, key, text in self._rows(_STUDY_ATTRIBUTES):
            study = self._studies[number]
            parse = models.fact if study.study_name == self._study else _any
            study.user_attrs[key] = self._parsed(str(key), lambda: parse(key, text), self._run_of(study))  # noqa: B023  # called at once
        for row in self._rows(_TRIALS, order="trial_id"):
            self._add(*row)
        for number, objective, value, kind in self._rows_of_trials(_VALUES, order="objective"):
            self._value(number, objective, value, kind)
        for _, number, key, value, distribution in self._rows_of_trials(_PARAMETERS, order="param_id"):
            trial, name = self._trials[number], self._names[number]
            parse_one = self._parameter(value, distribution)
            trial.params[key], trial.distributions[key] = self._parsed(f"params.{key}", parse_one, name)
        for number, key, text in self._rows_of_trials(_ATTRIBUTES):
            trial, name = self._trials[number], self._names[number]
            trial.user_attrs[key] = self._parsed(str(key), lambda: models.attribute(key, text), name)  # noqa: B023  # called at once
        for number, trial in self._trials.items():
            self._check(trial, self._names[number], self._objectives[number])

    @staticmethod
    def _parameter(value: object, distribution: object) -> Callable[[], Any]:
        return lambda: models.parameter(value, distribution)

    def _rows(self, table: Table, order: str | None = None) -> Iterator[Any]:
        query = select(table).where(table.c.study_id.in_(self._studies))
        return iter(self._connection.execute(query.order_by(table.c[order]) if order else query))

    def _rows_of_trials(self, table: Table, order: str | None = None) -> Iterator[Any]:
        """Those of trials that are known: others were added since."""
        query = select(table).join(_TRIALS, _TRIALS.c.trial_id == table.c.trial_id)
        query = query.where(_TRIALS.c.study_id.in_(self._studies))
        column = list(table.c.keys()).index("trial_id")
        rows = self._connection.execute(query.order_by(table.c[order]) if order else query)
        return (row for row in rows if row[column] in self._trials)

    def _add(self, *row: Any) -> None:
        trial_id, study_id, number, state, started, ended = row
        study = self._studies[study_id]
        name = f"{self._run_of(study)}/{number!s:.40}"
        self._trials[trial_id] = trial = FrozenTrial(
            number=self._parsed("number", lambda: models.count(number), name),
            state=self._parsed("state", lambda: models.state(state), name),
            value=None,
            datetime_start=self._parsed("datetime_start", lambda: models.moment(started), name),
            datetime_complete=self._parsed("datetime_complete", lambda: models.moment(ended), name),
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=trial_id,
            values=None,
        )
        if trial.number != len(study.trials):
            raise self._damaged("number", f"must be {len(study.trials)} but is {trial.number}", study)
        self._names[trial_id], self._objectives[trial_id] = name, study.objectives
        study.trials.append(trial)

    def _value(self, number: int, objective: object, value: object, kind: object) -> None:
        trial, name = self._trials[number], self._names[number]
        known = len(trial.values or ())
        if objective != known or known >= self._objectives[number]:
            raise DamagedError("the ledger", self._study, "values", f"objective {objective!r:.20}", run=name)
        reached = self._parsed("values", lambda: models.objective(known, value, kind), name)
        trial.values = [*(trial.values or ()), reached]

    def _check(self, trial: FrozenTrial, name: str, objectives: int) -> None:
        """What must be there of a final, and of a run that has finished."""
        missing = None
        if "/finals/" in name and models.FINAL not in trial.user_attrs:
            missing = models.FINAL
        elif trial.state == TrialState.COMPLETE and len(trial.values or ()) != objectives:
            missing = "values"
        elif trial.state == TrialState.COMPLETE and not any(
            rows and key.startswith(models.EPOCHS) for key, rows in trial.user_attrs.items()
        ):
            missing = "epochs"
        if missing is not None:
            raise DamagedError("the ledger", self._study, missing, "is missing", run=name)

    def _run_of(self, study: StoredStudy) -> str:
        """An arm, or its finals; empty for the whole study."""
        return study.study_name[len(self._study) + 1 :]

    def _parsed(self, key: str, parse: Callable[[], Any], run: str) -> Any:
        try:
            return parse()
        except ValueError as error:
            raise DamagedError("the ledger", self._study, key, error, run=run) from None

    def _damaged(self, key: str, problem: str, study: StoredStudy) -> DamagedError:
        return DamagedError("the ledger", self._study, key, problem, run=self._run_of(study))


def _any(key: str, text: object) -> Any:
    """An attribute that lpstudy does not read, whatever it is."""
    del key
    return models.json_value(text)
