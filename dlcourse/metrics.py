"""Figures of one pass over the data, summed on the device and read once."""

from collections.abc import Callable

import torch
from torch import Tensor

HELD_ROWS = 1024


class Metrics:
    """Mean loss, and accuracy (classes) or mae and r2 (values), over all rows seen since the last ``compute``.

    Only sums are kept, so that a figure over several processes is exact whatever the batch sizes:
    acc = correct / n,  mae = Σ|y − ŷ| / nK,  r2 = 1 − Σ(y − ŷ)² / Σ(y − ȳ)²  (per output, then averaged).
    Batches are held until there are about a thousand rows, and added up together: a small step spends nothing on them.
    """

    def __init__(self, task: str):
        self.task = task
        self.sums: dict[str, Tensor] = {}
        self.held: list[tuple[Tensor, Tensor, Tensor]] = []
        self.rows = 0  # of the batches held
        self.batch: int | None = None

    def update(self, loss: Tensor, z: Tensor, y: Tensor, batch: int | None = None) -> None:
        """Add one batch: its mean loss, its outputs z and its targets y (values: both in the target's own units).

        The same batch again, as L-BFGS asks for it several times a step, takes the place of what it said before.
        """
        if batch is not None and batch == self.batch:
            self.rows -= len(self.held.pop()[2])
        elif self.rows >= HELD_ROWS:
            self.total()
        self.held.append((loss, z, y))
        self.rows += len(y)
        self.batch = batch

    def total(self) -> dict[str, Tensor]:
        """The sums over all batches, those held included; no batch is replaced after that."""
        parts = [part for part in self.held if len(part[2])]  # a rank with nothing left has empty ones
        self.held, self.rows, self.batch = [], 0, None
        if not parts:
            return self.sums
        losses, zs, ys = zip(*parts, strict=True)
        loss, z, y = torch.stack(losses), torch.cat(zs), torch.cat(ys)
        exact = torch.float32 if loss.device.type == "mps" else torch.float64  # MPS has no float64
        n = torch.tensor([len(part) for part in ys], device=loss.device)
        self._add("loss", loss.to(exact) * n)
        self._add("n", n)
        if self.task == "classes":
            self._add("correct", z.max(1).indices == y)  # the first of equals, as argmax, and sooner
        elif self.task == "binary":
            self._add("correct", ((z > 0) == (y > 0.5)).flatten())
        else:
            y, error = y.to(exact), (y - z).to(exact)
            for name, value in {"abs": error.abs(), "sq": error**2, "y": y, "yy": y**2}.items():
                self._add(name, value)
        return self.sums

    def _add(self, name: str, values: Tensor) -> None:
        """One after another, so that it changes no bit how many are added at a time (and a resumed run agrees)."""
        if not values.is_floating_point():  # a count is exact in any order
            self.sums[name] = self.sums.get(name, 0) + values.sum(0)
            return
        if name in self.sums:
            values = torch.cat([self.sums[name][None], values])
        self.sums[name] = values.cumsum(0)[-1]

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda x: x) -> dict[str, Tensor]:
        """The figures, after ``reduce`` has added up the sums of all processes; starts afresh."""
        s = {name: reduce(value) for name, value in self.total().items()}
        self.sums = {}
        if not s:
            return {}
        figures = {"loss": s["loss"] / s["n"]}
        if "correct" in s:
            figures["acc"] = s["correct"] / s["n"]
        else:
            figures["mae"] = (s["abs"] / s["n"]).mean()
            spread = s["yy"] - s["y"] ** 2 / s["n"]
            if bool((spread > 0).all()):  # of targets that are all the same there is nothing to explain
                figures["r2"] = (1 - s["sq"] / spread).mean()
        return {name: value.float() for name, value in figures.items()}
