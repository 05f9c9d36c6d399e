"""Random numbers of a sample: a hash of (seed, epoch, index), the same in any batch, order, process or device."""

import math

import torch
from torch import Tensor

AT_ONCE = 2**16  # keys that are hashed at a time, in the cache: a large table has many, and each step makes more
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 64-bit constants as signed numbers: torch has no full uint64 arithmetic


def uniform(seed: int | Tensor, epoch: int | Tensor, index: Tensor, k: int, stream: int = 0) -> Tensor:
    """k numbers in [0, 1) for each index (N,), (N, k), float32: 24 bits of SplitMix64 (Steele et al. 2014).

    Different streams of a sample are independent: 0 is for what is done to the inputs, 1 for the model's own noise.
    """
    index = index.to(torch.int64)
    state = _mix(torch.zeros_like(index) + seed + (stream << 40) + _GOLDEN)  # a seed is below 2³²
    state = _mix(_mix(state + epoch) + index)
    draws = _mix(state[:, None] + _GOLDEN * torch.arange(1, k + 1, device=index.device))
    return _right(draws, 40).float() / 2**24  # exact in float32, so equal on every device


def normal(seed: int | Tensor, epoch: int | Tensor, index: Tensor, k: int, stream: int = 0) -> Tensor:
    """k numbers of N(0, 1) for each index (N,), (N, k), float32, by the method of Box and Muller (1958)."""
    u = uniform(seed, epoch, index, 2 * k, stream)
    return (-2 * torch.log1p(-u[:, :k])).sqrt() * (2 * math.pi * u[:, k:]).cos()


def hashed(keys: Tensor, seed: int) -> Tensor:
    """Another 64-bit number for each key (N,), by a seed; different ones for different keys."""
    found = torch.empty_like(keys)
    for part, into in zip(keys.split(AT_ONCE), found.split(AT_ONCE), strict=True):
        into.copy_(_mix(_mix(torch.zeros_like(part) + seed + _GOLDEN) + part))
    return found


def _mix(h: Tensor) -> Tensor:
    h = (h ^ _right(h, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    h = (h ^ _right(h, 27)) * (0x94D049BB133111EB - 2**64)
    return h ^ _right(h, 31)


def _right(h: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: the sign bit is shifted too."""
    return (h >> bits) & ((1 << (64 - bits)) - 1)
