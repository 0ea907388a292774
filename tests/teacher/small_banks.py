"""A study's teacher and bank, computed in this process instead of by Ray."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from lpstudy.data import Data
from lpstudy.space import StudySpec
from lpstudy.students import build
from lpstudy.teacher import BankPlan, OnlineTeacher, Store, TrainedTeacher, bank_origin, compute_blocks


@dataclass
class SmallBank:
    """A study, its teacher and the files of its bank."""

    spec: StudySpec
    data: Data
    file: TrainedTeacher
    plan: BankPlan
    store: Store
    teacher: OnlineTeacher

    def fill(self, most: int | None = None, *, chunk_size: int = 500) -> list[str]:
        """Compute the missing blocks, or the first of them; return the warnings about damage."""
        missing, damaged = self.store.missing()
        self.store.prepare()
        self.store.describe(bank_origin(self.plan, self.file, self.data))
        for computed_block in compute_blocks(
            self.store, self.data, self.teacher, missing[:most], chunk_size=chunk_size
        ):
            self.store.enter(computed_block.block, computed_block.digests)
        return damaged


def weights(spec: StudySpec, data: Data, path: Path, *, seed: int, logits: float = 1.0) -> None:
    """A teacher that learnt nothing, whose logits are multiplied by a number."""
    network = build(spec.teacher.network, input_shape=data.input_shape, classes=data.classes, seed=seed)
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = (state[name].double() * logits).float()
    save_file(state, path)


def content(store: Store) -> dict[str, bytes]:
    """Every file of a bank."""
    return {path.name: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
