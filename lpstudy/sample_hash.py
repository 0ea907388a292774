"""A hash of samples and keys, from which everything random about a sample can be computed again."""

from torch import Tensor

GOLDEN_GAMMA = 0x9E3779B97F4A7C15 - 2**64
MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
MULTIPLIER_2 = 0x94D049BB133111EB - 2**64


def hash64(samples: Tensor, *keys: int | Tensor) -> Tensor:
    """A hash in [0, 2^63) of every sample and the keys; int64.

    Args:
        samples: int64, any shape.
        keys: What the hash depends on besides the sample, in an order that matters; int64 where tensors.

    Returns:
        int64, the shape to which samples and keys broadcast.

    Source: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), one step for the sample and one for each key.
    """
    state = _mix(samples)
    for key in keys:
        state = _mix(state ^ key)
    return state & (2**63 - 1)


def _mix(state: Tensor) -> Tensor:
    """SplitMix64's output for 64-bit states held in int64, whose sums and products wrap like theirs."""
    state = state + GOLDEN_GAMMA
    state = (state ^ _logical_shift(state, 30)) * MULTIPLIER_1
    state = (state ^ _logical_shift(state, 27)) * MULTIPLIER_2
    return state ^ _logical_shift(state, 31)


def _logical_shift(state: Tensor, bits: int) -> Tensor:
    """The logical right shift; the shift of int64 would copy the sign bit."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
