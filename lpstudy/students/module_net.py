"""Any module of torch whose logits come from a last linear layer, as a network."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from lpstudy.one_line import one_line
from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps
from lpstudy.students.model_hooks import maps_with_weights, middle_map, outputs_by_hooks
from lpstudy.students.pooled_net import averaged_map
from lpstudy.user_lines import user_line

NO_MAP = "embedding"
"""The middle layer of a network without maps."""
_ADVICE = (
    "return what the last linear layer gives, without softmax, or write a lpstudy.outputs.Network"
    " (docs/extending.md)"
)
Shape = tuple[int, int, int]


class ModuleNet(Network):
    """A module that returns its logits, shape (m, classes), which a linear layer computes last.

    The embedding is that layer's input. The maps are outputs of shape (m, channels, height, width) of its
    submodules, before an in-place operation on them. Weights have the module's names below `network.`, as
    those of torchvision's models do; a file with the module's own names fits.

    Args:
        module: The module; it becomes part of the network.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.
        layers: The names of the submodules whose outputs are maps, with dots; None: the children that run
            once and have such outputs, of the first level at which there are any.
        make: Builds the same module with weights, for what a module on the meta device cannot tell.

    Raises:
        ValueError: One line: it cannot take such images, its logits are not those of a linear layer, or a
            layer gives no map.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        input_shape: Shape,
        classes: int,
        layers: tuple[str, ...] | None = None,
        make: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        structure = _examine(module, input_shape, classes)
        self.network = module
        self._head = structure.head
        self.classifier_name = f"network.{structure.head}"
        self.map_names = structure.default_maps() if layers is None else structure.checked_maps(layers)
        self.middle = middle_map(module, self.map_names) if self.map_names else NO_MAP
        self.input_shape = input_shape
        self._classes, self._make = classes, make
        self._pooled: tuple[str | None] | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """The maps of submodules with matrix weights: no normalisation, ReLU or pool."""
        return maps_with_weights(self.network, self.map_names)

    @property
    def pooled(self) -> str | None:
        """The first map whose average over positions is the embedding, found by two random images.

        None for a module on the meta device that cannot be made with weights.
        """
        if self._pooled is None:
            self._pooled = (self._find_pooled(),)
        return self._pooled[0]

    def _find_pooled(self) -> str | None:
        assert self.input_shape is not None
        if self._make is not None:
            return averaged_map(self._with_weights, self.input_shape)
        if _example_of(self.network, 1, self.input_shape).is_meta:
            return None
        with _mode(self, training=False):
            return averaged_map(lambda: self, self.input_shape)

    def _with_weights(self) -> Network:
        assert self._make is not None
        assert self.input_shape is not None
        return as_network(
            self._make(), input_shape=self.input_shape, classes=self._classes, layers=self.map_names
        )

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width)."""
        check_maps(maps, self.map_names)
        return outputs_by_hooks(self.network, images, head=self._head, maps=maps)


def as_network(
    module: nn.Module,
    *,
    input_shape: Shape,
    classes: int,
    layers: tuple[str, ...] | None = None,
    make: Callable[[], nn.Module] | None = None,
) -> Network:
    """A module as a network: a `Network` is used as it is, another one as `ModuleNet` says.

    Raises:
        ValueError: One line: see `ModuleNet`; or the outputs of a `Network` have other shapes.
    """
    if not isinstance(module, Network):
        return ModuleNet(module, input_shape=input_shape, classes=classes, layers=layers, make=make)
    if layers is not None:
        raise ValueError(f"layers: {_name(module)} is a Network, whose map_names are its maps; leave it out")
    outputs = _run(module, _example_of(module, 2, input_shape))
    if not isinstance(outputs, Outputs):
        raise ValueError(f"{_name(module)} is a Network and returns {_kind(outputs)}: it must return Outputs")
    _check_logits(module, outputs.logits, classes)
    if outputs.embedding.dim() != 2:
        shape = tuple(outputs.embedding.shape)
        raise ValueError(f"{_name(module)}: its embedding must have shape (m, features) but has {shape}")
    module.input_shape = input_shape
    return module


@dataclass(frozen=True, slots=True)
class _Structure:
    """What one run of a module shows."""

    head: str
    """The linear layer whose output is the module's."""
    children: dict[str, tuple[str, ...]]
    """The names of each submodule's children."""
    outputs: dict[str, list[tuple[int, ...] | None]]
    """The shape of each output of each submodule, None where it is no tensor, in the order of their ends."""

    def is_map(self, name: str) -> bool:
        """Whether it runs once, with an output of shape (m, channels, height, width)."""
        shapes = self.outputs.get(name, [])
        return len(shapes) == 1 and shapes[0] is not None and len(shapes[0]) == 4

    def default_maps(self) -> tuple[str, ...]:
        """The maps among the children; of the child that has the classifier, where the module has none."""
        level = ""
        while True:
            names = set(self.children[level])
            if maps := tuple(name for name in self.outputs if name in names and self.is_map(name)):
                return maps
            inner = [name for name in names if self.head.startswith(f"{name}.")]
            if not inner:
                return ()
            level = inner[0]

    def checked_maps(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The maps of these names, in the order in which they run."""
        for name in names:
            if not name or name not in self.children:
                known = [known for known in self.outputs if self.is_map(known)]
                few = get_close_matches(name, known, n=5) or known[:10]
                hint = f"some that give maps are {', '.join(few)}" if few else "none of them gives a map"
                raise ValueError(f"layers: there is no submodule {name!r:.80}; {hint}")
            if len(shapes := self.outputs.get(name, [])) != 1:
                raise ValueError(
                    f"layers: {name} runs {len(shapes)} times for an image; a map's layer runs once"
                )
            if not self.is_map(name):
                words = "no tensor" if shapes[0] is None else f"shape {shapes[0]}"
                raise ValueError(f"layers: {name} gives {words}, not (m, channels, height, width)")
        return tuple(name for name in self.outputs if name in names)


def _examine(module: nn.Module, input_shape: Shape, classes: int) -> _Structure:
    """Run a module once, with hooks on all submodules; raises as `ModuleNet`."""
    images = _example_of(module, 2, input_shape)
    structure = _record(module, images, classes, training=False)
    # Some models return something else in training; weights that are not there cannot be changed by a try.
    if images.is_meta and (other := _record(module, images, classes, training=True)).head != structure.head:
        raise ValueError(
            f"{_name(module)} ends in {structure.head}, but in training mode in {other.head}: {_ADVICE}"
        )
    return structure


def _record(module: nn.Module, images: Tensor, classes: int, *, training: bool) -> _Structure:
    named = dict(module.named_modules())
    shapes: dict[str, list[tuple[int, ...] | None]] = {}
    linear_outputs: list[tuple[str, object]] = []

    def hook(name: str, part: nn.Module) -> Callable[[nn.Module, object, object], None]:
        def store(_: nn.Module, __: object, output: object) -> None:
            shapes.setdefault(name, []).append(tuple(output.shape) if isinstance(output, Tensor) else None)
            if isinstance(part, nn.Linear) and type(part).forward is nn.Linear.forward:
                linear_outputs.append((name, output))

        return store

    with ExitStack() as hooks:
        for name, part in named.items():
            if name:
                hooks.enter_context(part.register_forward_hook(hook(name, part)))
        logits = _run(module, images, training=training)
    if not isinstance(logits, Tensor):
        mode = " in training mode" if training else ""
        raise ValueError(
            f"{_name(module)} returns {_kind(logits)}{mode}: it must return its logits; {_ADVICE}"
        )
    heads = [name for name, output in linear_outputs if output is logits]
    if not heads:
        last = f"; the last linear layer that runs is {linear_outputs[-1][0]}" if linear_outputs else ""
        raise ValueError(
            f"the logits of {_name(module)} are not the output of a linear layer{last}: {_ADVICE}"
        )
    _check_logits(module, logits, classes)
    if len(shapes[heads[0]]) > 1:
        raise ValueError(f"{heads[0]}, the last linear layer of {_name(module)}, runs twice: {_ADVICE}")
    children = {
        name: tuple(f"{name}.{child}" if name else child for child, _ in part.named_children())
        for name, part in named.items()
    }
    return _Structure(heads[0], children, shapes)


def _check_logits(module: nn.Module, logits: Tensor, classes: int) -> None:
    if tuple(logits.shape) != (2, classes):
        shape = f"({', '.join(['m', *map(str, logits.shape[1:])])})"
        raise ValueError(f"the logits of {_name(module)} have shape {shape} but must have (m, {classes})")


def _run(module: nn.Module, images: Tensor, *, training: bool = False) -> object:
    """A module's output; its modes and the global random states do not change."""
    try:
        with _mode(module, training=training), torch.no_grad(), torch.random.fork_rng(devices=[]):
            return module(images)
    except Exception as error:  # of any kind: it may be that of one's own code
        place = f" at {line}" if (line := user_line(error)) else ""
        size = "x".join(map(str, images.shape[1:]))
        on_meta = " (run on torch's meta device, without numbers)" if images.is_meta else ""
        reason = f"{type(error).__name__}{place}: {one_line(error, 400)}"
        raise ValueError(f"{_name(module)} cannot take images of {size}{on_meta}: {reason}") from error


def _example_of(module: nn.Module, count: int, input_shape: Shape) -> Tensor:
    """Images of zeros on the device and in the number format of the weights."""
    weights = (weight for weight in module.parameters() if weight.is_floating_point())
    weight = next(weights, torch.empty(0))
    return torch.zeros(count, *input_shape, device=weight.device, dtype=weight.dtype)


@contextmanager
def _mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or evaluation mode within the context; afterwards each submodule's own mode again."""
    modes = {part: part.training for part in module.modules()}
    module.train(training)
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _name(module: nn.Module) -> str:
    return type(module).__name__


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
