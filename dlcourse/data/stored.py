"""Inputs that stay in a file, mapped into memory: a row is copied when it is asked for."""

from typing import Any, cast

import torch
from torch import Tensor


class Stored:
    """The rows at ``positions`` of a mapped tensor, which is never copied as a whole by what asks for a part of it.

    Where a tensor of the same rows is indexed, split or measured, this can stand for it. All else (``flatten`` …) is
    asked of a copy in memory.
    """

    def __init__(self, mapped: Tensor, positions: Tensor):
        self.mapped, self.positions = mapped, positions
        self.dtype, self.device, self.ndim = mapped.dtype, mapped.device, mapped.ndim

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.positions), *self.mapped.shape[1:]))

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: Any) -> Tensor:
        """A copy of these rows."""
        return self.mapped[self.positions[rows]]

    def at(self, rows: Tensor) -> "Stored":
        """These rows, where they are."""
        return Stored(self.mapped, self.positions[rows])

    def split(self, size: int) -> "Parts":
        return Parts(self, size)

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def numel(self) -> int:
        return self.shape.numel()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "positions" not in vars(self):  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self[:], name)


class Parts:
    """The rows of stored inputs in parts of a size, each copied when its turn comes."""

    def __init__(self, rows: Stored, size: int):
        self.rows, self.size = rows, size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __getitem__(self, k: int) -> Tensor:
        if not 0 <= k < len(self):
            raise IndexError(k)
        return self.rows[k * self.size : (k + 1) * self.size]


def at(x: Tensor, rows: Tensor) -> Tensor:
    """The rows of a tensor, as a copy, or of stored inputs, where they are."""
    return cast(Tensor, x.at(rows)) if isinstance(x, Stored) else x[rows]
