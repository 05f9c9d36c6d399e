"""Figures of one pass over the data, summed on the device and read once."""

from collections.abc import Callable

import torch
from torch import Tensor


class Metrics:
    """Mean loss, and accuracy (classes) or mae and r2 (values), over all rows seen since the last ``compute``.

    Only sums are kept, so that a figure over several processes is exact whatever the batch sizes:
    acc = correct / n,  mae = Σ|y − ŷ| / nK,  r2 = 1 − Σ(y − ŷ)² / Σ(y − ȳ)²  (per output, then averaged).
    """

    def __init__(self, task: str):
        self.task = task
        self.sums: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}
        self.batch: int | None = None

    def update(self, loss: Tensor, z: Tensor, y: Tensor, batch: int | None = None) -> None:
        """Add one batch: its mean loss, its outputs z and its targets y (values: both in the target's own units).

        The same batch again, as L-BFGS asks for it several times a step, takes the place of what it said before.
        """
        if batch is not None and batch == self.batch:
            self.sums = self.before
        self.before, self.batch = dict(self.sums), batch
        n = len(y)
        if n == 0:  # a rank with nothing left
            return
        self._add("loss", loss * n)
        self._add("n", torch.full((), n, device=loss.device))
        if self.task == "classes":
            self._add("correct", (z.argmax(1) == y).sum())
        elif self.task == "binary":
            self._add("correct", ((z > 0) == (y > 0.5)).sum())
        else:
            y, error = y.double(), (y - z).double()
            for name, value in {"abs": error.abs(), "sq": error**2, "y": y, "yy": y**2}.items():
                self._add(name, value.sum(0))

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda x: x) -> dict[str, Tensor]:
        """The figures, after ``reduce`` has added up the sums of all processes; starts afresh."""
        s = {name: reduce(value) for name, value in self.sums.items()}
        self.sums, self.batch = {}, None
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
