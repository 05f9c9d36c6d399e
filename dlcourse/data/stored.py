"""Inputs that stay in a file, mapped into memory: a row is copied when it is asked for."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

AT_ONCE = 2**20  # numbers that are added up at a time: so many stay in the processor's cache


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

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        assert dim == 0, "rows are chosen, not columns"
        return self[rows]

    def at(self, rows: Tensor) -> "Stored":
        """These rows, where they are."""
        return Stored(self.mapped, self.positions[rows])

    def split(self, size: int) -> "Parts":
        return Parts(self, size)

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def numel(self) -> int:
        return self.shape.numel()

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel (or column) of whole numbers, (C, 1, …); 1 for a constant one."""
        rows, channels, *places = self.shape
        sums, squares = torch.zeros(2, channels, dtype=torch.int64)
        for part in self.split(max(1, AT_ONCE // self.shape[1:].numel())):
            values = part.flatten(2).to(torch.int32 if part.dtype == torch.uint8 else torch.int64)
            sums += values.sum((0, 2))
            squares += (values * values).sum((0, 2))
        n = rows * math.prod(places)
        totals = [*zip(sums.tolist(), squares.tolist(), strict=True)]
        variances = [(n * square - total**2) / n**2 or 1.0 for total, square in totals]
        mean, std = torch.tensor([total / n for total, _ in totals]), torch.tensor([v**0.5 for v in variances])
        shape = (-1, *[1] * len(places))
        return mean.reshape(shape), std.reshape(shape)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "positions" not in vars(self):  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self[:], name)


class Parts(Sequence[Tensor]):
    """The rows of stored inputs in parts of a size, each copied when its turn comes."""

    def __init__(self, rows: Stored, size: int):
        self.rows, self.size = rows, size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __getitem__(self, k: Any) -> Any:
        if not 0 <= k < len(self):
            raise IndexError(k)
        return self.rows[k * self.size : (k + 1) * self.size]


def at(x: Tensor, rows: Tensor) -> Tensor:
    """The rows of a tensor, as a copy, or of stored inputs, where they are."""
    return cast(Tensor, x.at(rows)) if isinstance(x, Stored) else x[rows]
