"""The rows of a study in a ledger's database, each validated; an invalid row is refused by name."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Column, ColumnElement, Connection, Engine, MetaData, Table, func, inspect, select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.types import NULLTYPE

from lpstudy.damage import DamagedError
from lpstudy.ledger import row_models as models

DIRECTIONS = ("MAXIMIZE", "MINIMIZE")
"""The directions of validation accuracy, and of MACs where the size is searched."""
_TABLES = MetaData()


def _table(name: str, *columns: str) -> Table:
    """One of Optuna's tables, with values of any type."""
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
    """An Optuna study with the interface of Optuna: the facts, an arm's search, or its finals."""

    study_name: str
    objectives: int = 0
    user_attrs: dict[str, Any] = field(default_factory=dict)
    trials: list[FrozenTrial] = field(default_factory=list)

    @property
    def directions(self) -> tuple[str, ...]:
        """The direction of each objective."""
        return DIRECTIONS[: self.objectives]

    def get_trials(
        self, deepcopy: bool = True, states: Collection[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in order, filtered by `states` if given; never copied."""
        del deepcopy
        return [trial for trial in self.trials if states is None or trial.state in states]


def read_study_names(engine: Engine) -> list[str]:
    """The names of all studies of a database, sorted; none where it is not a ledger.

    Raises:
        DamagedError: A name is not text.
    """
    if not inspect(engine).has_table(_STUDIES.name):
        return []
    with _lenient_connection(engine) as connection:
        names = [name for (name,) in connection.execute(select(_STUDIES.c.study_name))]
    for name in names:
        if not isinstance(name, str):
            raise DamagedError("the ledger", "", "study_name", f"must be text but is {type(name).__name__}")
    return sorted(name for name in names if "/" not in name)


def read_rows(engine: Engine, study: str) -> list[StoredStudy]:
    """A study's Optuna studies in order of creation: its facts, then those of the arms.

    Concurrent writes may or may not be included, but never the end of a run without its results.

    Raises:
        KeyError: The database has no such study.
        DamagedError: A row is not as lpstudy writes it.
    """
    name = _STUDIES.c.study_name
    return _read(engine, study, (name == study) | name.startswith(f"{study}/", autoescape=True))


def read_facts_row(engine: Engine, study: str) -> dict[str, Any]:
    """The facts of a study without its runs; raises as `read_rows`."""
    return _read(engine, study, _STUDIES.c.study_name == study)[0].user_attrs


def read_extent(engine: Engine, study: str) -> tuple[object, ...]:
    """A value that each new run, epoch, end and fact of a study changes, without reading its runs."""
    name = _STUDIES.c.study_name
    own = select(_STUDIES.c.study_id).where((name == study) | name.startswith(f"{study}/", autoescape=True))
    trials = _TRIALS.c.study_id.in_(own)
    by_state = select(_TRIALS.c.state, func.count()).where(trials).group_by(_TRIALS.c.state)
    attributes = select(func.count()).where(
        _ATTRIBUTES.c.trial_id.in_(select(_TRIALS.c.trial_id).where(trials))
    )
    facts = select(_STUDY_ATTRIBUTES.c.key, _STUDY_ATTRIBUTES.c.value_json).where(
        _STUDY_ATTRIBUTES.c.study_id.in_(own)
    )
    with _lenient_connection(engine) as connection:
        parts = [
            sorted(map(tuple, connection.execute(query)), key=str) for query in (by_state, attributes, facts)
        ]
    return tuple(map(tuple, parts))


def _read(engine: Engine, study: str, rows: ColumnElement[bool]) -> list[StoredStudy]:
    name = _STUDIES.c.study_name
    try:
        with _lenient_connection(engine) as connection:
            query = select(_STUDIES.c.study_id, name).where(rows).order_by(_STUDIES.c.study_id)
            studies = {number: StoredStudy(text) for number, text in connection.execute(query)}
            if all(one.study_name != study for one in studies.values()):
                raise KeyError(study)
            _Reader(connection, study, studies).read()
    except (OperationalError, ProgrammingError):
        if inspect(engine).has_table(_STUDIES.name):
            raise
        raise KeyError(study) from None
    return sorted(studies.values(), key=lambda one: one.study_name != study)


@contextmanager
def _lenient_connection(engine: Engine) -> Iterator[Connection]:
    """A connection that decodes invalid UTF-8 to surrogates, which every model refuses."""
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
    """Reads rows into the Optuna studies of a study.

    Args:
        connection: A connection to the database.
        study: The study's name.
        studies: The Optuna studies by their ids.
    """

    def __init__(self, connection: Connection, study: str, studies: dict[int, StoredStudy]) -> None:
        self._connection, self._study, self._studies = connection, study, studies
        self._trials: dict[int, FrozenTrial] = {}
        self._names: dict[int, str] = {}
        self._objectives: dict[int, int] = {}

    def read(self) -> None:
        """Read all rows; trials first, so that no end is read without its results."""
        for number, objective, direction in self._rows(_STUDY_DIRECTIONS):
            study = self._studies[number]
            if objective not in (0, 1) or direction != DIRECTIONS[objective]:
                raise self._damaged("direction", f"objective {objective!r:.20} is {direction!r:.20}", study)
            study.objectives += 1
        for number, key, text in self._rows(_STUDY_ATTRIBUTES):
            study = self._studies[number]
            parse = models.parse_fact if study.study_name == self._study else _any
            study.user_attrs[key] = self._parse(str(key), lambda: parse(key, text), self._run_of(study))  # noqa: B023  # called at once
        for row in self._rows(_TRIALS, order="trial_id"):
            self._add(*row)
        for number, objective, value, kind in self._rows_of_trials(_VALUES, order="objective"):
            self._value(number, objective, value, kind)
        for _, number, key, value, distribution in self._rows_of_trials(_PARAMETERS, order="param_id"):
            trial, name = self._trials[number], self._names[number]
            parse_one = self._parameter(value, distribution)
            trial.params[key], trial.distributions[key] = self._parse(f"params.{key}", parse_one, name)
        for number, key, text in self._rows_of_trials(_ATTRIBUTES):
            trial, name = self._trials[number], self._names[number]
            trial.user_attrs[key] = self._parse(str(key), lambda: models.parse_attribute(key, text), name)  # noqa: B023  # called at once
        for number, trial in self._trials.items():
            self._check(trial, self._names[number], self._objectives[number])

    @staticmethod
    def _parameter(value: object, distribution: object) -> Callable[[], Any]:
        return lambda: models.parse_parameter(value, distribution)

    def _rows(self, table: Table, order: str | None = None) -> Iterator[Any]:
        query = select(table).where(table.c.study_id.in_(self._studies))
        return iter(self._connection.execute(query.order_by(table.c[order]) if order else query))

    def _rows_of_trials(self, table: Table, order: str | None = None) -> Iterator[Any]:
        """The rows of the trials that were read; later trials are ignored."""
        query = select(table).join(_TRIALS, _TRIALS.c.trial_id == table.c.trial_id)
        query = query.where(_TRIALS.c.study_id.in_(self._studies))
        column = list(table.c.keys()).index("trial_id")
        rows = self._connection.execute(query.order_by(table.c[order]) if order else query)
        return (row for row in rows if row[column] in self._trials)

    def _add(self, *row: Any) -> None:
        trial_id, study_id, number, state, start, end = row
        study = self._studies[study_id]
        name = f"{self._run_of(study)}/{number!s:.40}"
        self._trials[trial_id] = trial = FrozenTrial(
            number=self._parse("number", lambda: models.parse_count(number), name),
            state=self._parse("state", lambda: models.parse_state(state), name),
            value=None,
            datetime_start=self._parse("datetime_start", lambda: models.parse_time(start), name),
            datetime_complete=self._parse("datetime_complete", lambda: models.parse_time(end), name),
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
        index = len(trial.values or ())
        if objective != index or index >= self._objectives[number]:
            raise DamagedError("the ledger", self._study, "values", f"objective {objective!r:.20}", run=name)
        parsed = self._parse("values", lambda: models.parse_objective(index, value, kind), name)
        trial.values = [*(trial.values or ()), parsed]

    def _check(self, trial: FrozenTrial, name: str, objectives: int) -> None:
        """Check that a final and a finished run are complete."""
        missing_key = None
        if "/finals/" in name and models.FINAL not in trial.user_attrs:
            missing_key = models.FINAL
        elif trial.state == TrialState.COMPLETE and len(trial.values or ()) != objectives:
            missing_key = "values"
        elif trial.state == TrialState.COMPLETE and not any(
            rows and key.startswith(models.EPOCHS) for key, rows in trial.user_attrs.items()
        ):
            missing_key = "epochs"
        if missing_key is not None:
            raise DamagedError("the ledger", self._study, missing_key, "is missing", run=name)

    def _run_of(self, study: StoredStudy) -> str:
        """The name of an arm or of its finals; empty for the whole study."""
        return study.study_name[len(self._study) + 1 :]

    def _parse(self, key: str, parse: Callable[[], Any], run: str) -> Any:
        try:
            return parse()
        except ValueError as error:
            raise DamagedError("the ledger", self._study, key, error, run=run) from None

    def _damaged(self, key: str, problem: str, study: StoredStudy) -> DamagedError:
        return DamagedError("the ledger", self._study, key, problem, run=self._run_of(study))


def _any(key: str, text: object) -> Any:
    """Parse an attribute that lpstudy does not read: any JSON."""
    del key
    return models.json_value(text)
