"""A study's metadata, as `study.json` has it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lpstudy.tracking.client import tag


@dataclass(frozen=True, slots=True)
class StudyMetadata:
    """A study's metadata, stored in `study.json` on the run named `report`."""

    spec: Mapping[str, Any]
    data: Mapping[str, Any]
    """The keys name, classes, train, validation, test (sample counts) and input_shape."""
    teacher: Mapping[str, Any]
    """The fields of a `TrainedTeacher` without its folder."""
    provenance: Mapping[str, str]
    """The keys data (hash), teacher (hash), versions, commit, machine and command."""
    latency: Mapping[str, Any] | None = None
    """Machine, rows and what was skipped; None where the study measures no latency."""
    growth: Sequence[Mapping[str, Any]] = ()
    """What was added to the study after its start and hidden: see `lpstudy.ledger.StoredExtension`."""
    hidden: Mapping[str, int] = field(default_factory=dict)
    """The number of runs of each hidden arm."""
    finals: Mapping[str, Any] = field(default_factory=dict)
    """How trials become finals: see `lpstudy.tracking.study_json.FinalsJson`."""
    front_pruner: bool = False
    """Whether trials of arms that search depth or width are judged by accuracy and MACs."""
    spending: Sequence[Mapping[str, Any]] = ()
    """What teacher and bank have cost: see `lpstudy.ledger.StoredPhase`."""
    estimate: Sequence[Mapping[str, Any]] = ()
    """What `lpstudy plan` has estimated, in the same form."""

    def as_text(self) -> str:
        """The metadata as JSON text."""
        return json.dumps(asdict(self), indent=1)

    def tags(self) -> dict[str, str]:
        """The tags of every run."""
        names = {"commit": "commit", "versions": "versions", "data": "data hash", "teacher": "teacher hash"}
        names |= {"views": "views", "precision": "precision"}
        return {tag(name): self.provenance[key] for name, key in names.items() if key in self.provenance}
