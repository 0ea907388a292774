"""Number format of a step: bfloat16 by autocast where it is requested or the hardware supports it."""

from contextlib import AbstractContextManager

import torch

from lpstudy.space import Precision


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether steps on the device run in bfloat16; `auto` means where the hardware supports it."""
    return precision == "bf16" or (precision == "auto" and has_bf16(device))


def autocast(device: torch.device, *, bf16: bool) -> AbstractContextManager[None]:
    """A context with bfloat16 for convolutions and matrix products, or without any cast."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16, cache_enabled=False)
