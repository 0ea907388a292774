"""What the blocks of a teacher bank have cost, in a file beside them; studies that share it add to it."""

import json
from dataclasses import asdict

from pydantic import TypeAdapter

from lpstudy.disk import StorageError
from lpstudy.spending import BANK, PhaseSpending, joined
from lpstudy.teacher.store import Store

FILE = "spending.json"
_ROW = TypeAdapter(PhaseSpending)


def read_bank_spending(store: Store) -> PhaseSpending | None:
    """What all computed blocks have cost, those computed twice included; None where it is not known.

    Raises:
        StorageError: The store does not answer.
    """
    try:
        return _ROW.validate_json(store.shared.read(FILE), strict=True)
    except StorageError:
        raise
    except (OSError, ValueError):  # new, of an earlier version, or damaged; no result depends on it
        return None


def add_bank_spending(store: Store, block: PhaseSpending) -> None:
    """Add the cost of a block before the block is listed; only the process that fills the bank may do so.

    Raises:
        OSError: The file cannot be written.
    """
    earlier = read_bank_spending(store)
    together = block if earlier is None else joined([earlier, block], BANK)
    store.shared.write(FILE, json.dumps(asdict(together)).encode())
