"""The identity of a run in its checkpoints: no other run may resume from them."""

import hashlib
import json

from lpstudy.data import Data
from lpstudy.space import RunSpec


def run_identity(trial: RunSpec, data: Data, weights_hash: str | None) -> str:
    """The hash of the spec and the data, in hexadecimal.

    Args:
        trial: The run.
        data: Its data set.
        weights_hash: SHA-256 of the student's initial weights, whose path may change; None without any.
    """
    spec = trial.model_dump(mode="json", exclude={"training": {"checkpoint_seconds"}})
    spec["student"]["weights"] = weights_hash
    table = json.dumps([spec, data.fingerprint, data.pad, data.flip, data.views], sort_keys=True)
    return hashlib.sha256(table.encode()).hexdigest()
