"""State dicts with the names and shapes of RepDistiller's models, and logits of its code for them.

The names, shapes and logits in the JSON file beside this one were written down once from the models of
https://github.com/HobbitLong/RepDistiller, which computed the logits in float64.
"""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LAYOUTS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
"""For each model its layers, as `name shape` with `bias` where a convolution or linear layer has one, and the
first five logits of two images."""


def images() -> Tensor:
    """Two images of 32 pixels, float32."""
    pixels = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    return torch.from_numpy(pixels)


def state_of(layers: list[str]) -> dict[str, Tensor]:
    """A state dict whose values follow from the tensors' names alone."""
    state: dict[str, Tensor] = {}
    for line in layers:
        name, sizes, *bias = line.split()
        shape = tuple(int(size) for size in sizes.split("x"))
        if len(shape) == 1:
            state[f"{name}.weight"] = 1 + 0.1 * _values(f"{name}.weight", shape)
            state[f"{name}.bias"] = 0.1 * _values(f"{name}.bias", shape)
            state[f"{name}.running_mean"] = 0.1 * _values(f"{name}.running_mean", shape)
            state[f"{name}.running_var"] = 1 + 0.1 * _values(f"{name}.running_var", shape).abs()
        else:
            scale = math.sqrt(2 / math.prod(shape[1:]))
            state[f"{name}.weight"] = scale * _values(f"{name}.weight", shape)
            if bias:
                state[f"{name}.bias"] = 0.1 * _values(f"{name}.bias", shape[:1])
    return state


def _values(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
