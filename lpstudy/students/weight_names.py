"""The forms of the names of a file's tensors: without wrappers and prefixes, or for the literature's."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from lpstudy.students.literature_names import LITERATURE_NAMES, rename
from lpstudy.terminal import printable

PREFIX = "network."
"""The prefix of torchvision's and timm's names in a network that wraps one of their models."""
WRAPPERS = ("module", "_orig_mod")
"""Parts of names that DataParallel, AveragedModel and torch.compile add."""
COUNTER = "n_averaged"
"""AveragedModel's count of averaged steps."""


@dataclass(frozen=True, slots=True)
class Naming:
    """A file's tensors under one form of their names."""

    tensors: Mapping[str, Tensor]
    removed: str = ""
    """The parts that these names lack, such as `module.`."""
    kind: str = ""
    """The network of RepDistiller whose names they had; empty: another's."""

    def words(self) -> str:
        """What was done to the names; empty where they are the file's own or lpstudy's."""
        removed = printable(self.removed.removesuffix(PREFIX)[:80])
        parts = [f"without {removed}"] * bool(removed) + [f"as RepDistiller's {self.kind}"] * bool(self.kind)
        return ", ".join(parts)


def best_naming(tensors: Mapping[str, Tensor], names: Iterable[str]) -> Naming:
    """The form of a file's names of which most are a network's.

    Args:
        tensors: The file's tensors.
        names: The network's names.
    """
    known = set(names)
    prefix = PREFIX if all(name.startswith(PREFIX) for name in known) else ""
    return max(_namings(tensors), key=lambda form: sum(prefix + name in known for name in form.tensors))


def _namings(tensors: Mapping[str, Tensor]) -> Iterator[Naming]:
    for naming in _shorter_names(tensors):
        yield naming
        for kind, table in LITERATURE_NAMES.items():
            renamed = {rename(name, table): value for name, value in naming.tensors.items()}
            yield Naming(renamed, naming.removed, kind)


def _shorter_names(tensors: Mapping[str, Tensor]) -> Iterator[Naming]:
    """Unchanged, without wrappers, then without each common prefix."""
    yield Naming(tensors)
    parts = {name: name.split(".") for name in tensors}
    wrappers = [wrapper for wrapper in WRAPPERS if any(wrapper in some for some in parts.values())]
    names = {".".join(part for part in some if part not in WRAPPERS): name for name, some in parts.items()}
    current = Naming(
        {short: tensors[name] for short, name in names.items()}, "".join(f"{one}." for one in wrappers)
    )
    yield current
    while len(prefixes := {name.partition(".")[0] for name in current.tensors if name != COUNTER}) == 1:
        first = f"{prefixes.pop()}."
        shorter = {name.removeprefix(first): value for name, value in current.tensors.items()}
        if shorter.keys() == current.tensors.keys():
            break
        current = Naming(shorter, current.removed + first)
        yield current
