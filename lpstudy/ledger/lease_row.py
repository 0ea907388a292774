"""The row of a lease in the ledger's database, with each value validated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from lpstudy.damage import DamagedError, validate_strictly
from lpstudy.ledger.process_id import ProcessId
from lpstudy.ledger.row_models import json_value

Request = Literal["run", "stop", "pause", "cancel"]
REQUESTS: tuple[Request, ...] = get_args(Request)
LeaseText = Annotated[str, Field(max_length=1 << 16)]
LeaseCount = Annotated[int, Field(ge=0, le=2**63 - 1)]


class HolderRow(TypedDict):
    """A `ProcessId` as the database stores it."""

    host: LeaseText
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    since: LeaseText
    machine: LeaseText
    started: LeaseText


class GaugesRow(TypedDict, total=False):
    """The holder's gauges: the keys that lpstudy reads, and any others."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic reads it there
    state: LeaseText
    why: LeaseText
    request: Request
    heard: LeaseCount
    rate: Annotated[float, Field(ge=0, le=1e9)] | None
    eta: Annotated[float, Field(ge=0, le=1e12)] | None
    nodes: LeaseCount | None
    workers: LeaseCount | None
    behind: LeaseCount | None
    mlflow: LeaseText | None
    free: LeaseCount | None
    waiting: LeaseText


_ROW: dict[str, TypeAdapter[Any]] = {
    "token": TypeAdapter(Annotated[str, Field(max_length=32)] | None),
    "beat": TypeAdapter(LeaseCount),
    "holder": TypeAdapter(HolderRow | None),
    "told": TypeAdapter(GaugesRow),
    "wish": TypeAdapter(Request),
    "wished": TypeAdapter(LeaseCount),
}
_JSON = ("holder", "told")
_FIELDS = {"beat": "heartbeat", "told": "gauges", "wish": "request", "wished": "request_number"}
"""Fields of a `Row` whose column has another name."""


@dataclass(frozen=True, slots=True)
class Row:
    """A lease as one query returns it."""

    token: str | None
    heartbeat: int
    holder: ProcessId | None
    gauges: Mapping[str, Any]
    request: Request
    request_number: int


def parse_row(study: str, columns: Any) -> Row:
    """A study's lease from its row.

    Raises:
        DamagedError: A value is not as a holder writes it.
    """
    values: dict[str, Any] = {}
    for key, model in _ROW.items():
        try:
            value = getattr(columns, key)
            if key in _JSON and value is not None:
                value = json_value(value)
            values[_FIELDS.get(key, key)] = validate_strictly(model, value)
        except ValueError as error:
            raise DamagedError("the ledger", study, f"lease: {key}", error) from None
    holder = values["holder"]
    return Row(**values | {"holder": ProcessId(**holder) if holder is not None else None})
