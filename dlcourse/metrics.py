"""Metrics of one pass over the data, summed on the device and read once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

HELD_ROWS = 1024


def exact(values: Tensor) -> Tensor:
    """The values in float64, or in float32 on an Apple GPU, which has no float64."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


class Metrics:
    """The mean loss, and what a task adds up, over all rows seen since the last ``compute``.

    Only sums are kept, so that a metric over several processes is exact whatever the batch sizes. Batches are kept
    until there are about a thousand samples, and summed together, so that small steps stay fast. ``read`` turns outputs
    into readable predictions, for tasks that compare those.
    """

    def __init__(self, task: Any, read: Callable[[Any], Tensor]):
        self.task, self.read = task, read
        self.sums: dict[str, Tensor] = {}
        self.held: list[tuple[Tensor, int | Tensor, Tensor, Tensor]] = []
        self.rows = 0  # of the batches held
        self.batch: int | None = None

    def update(
        self, loss: Tensor, divisor: int | Tensor, output: Tensor, target: Tensor, batch: int | None = None
    ) -> None:
        """Add one batch: its mean loss and what that was divided by, its outputs and its targets.

        The same batch again replaces the earlier one: L-BFGS evaluates a batch several times a step.
        """
        if batch is not None and batch == self.batch:
            self.rows -= len(self.held.pop()[3])
        elif self.rows >= HELD_ROWS:
            self.total()
        self.held.append((loss, divisor, output, target))
        self.rows += len(target)
        self.batch = batch

    def total(self) -> dict[str, Tensor]:
        """The sums over all batches, pending ones included; after this no batch can be replaced."""
        parts = [part for part in self.held if len(part[3])]  # a process without samples left has empty ones
        self.held, self.rows, self.batch = [], 0, None
        if not parts:
            return self.sums
        losses, divisors, outputs, targets = zip(*parts, strict=True)
        loss = exact(torch.stack(losses))
        weighted = isinstance(divisors[0], Tensor)
        divisor = exact(torch.stack(divisors)) if weighted else torch.tensor(divisors, device=loss.device)
        self._add("loss", loss * divisor)
        self._add("divisor", divisor)
        self._add("n", torch.tensor([len(part) for part in targets], device=loss.device))
        for name, value in self.task.statistics(torch.cat(outputs), torch.cat(targets), self.read).items():
            self._add(name, value)
        return self.sums

    def _add(self, name: str, values: Tensor) -> None:
        """Add values one by one, so that the result is bit-identical however many are pending (as in a resumed run)."""
        if not values.is_floating_point():  # a count is exact in any order
            self.sums[name] = self.sums.get(name, 0) + values.sum(0)
            return
        if name in self.sums:
            values = torch.cat([self.sums[name][None], values])
        self.sums[name] = values.cumsum(0)[-1]

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda x: x) -> dict[str, Tensor]:
        """The metrics, after ``reduce`` has summed over the processes; then resets."""
        sums = {name: reduce(value) for name, value in self.total().items()}
        self.sums = {}
        return from_sums(self.task, sums)


def from_sums(task: Any, sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """The metrics of a task from sums over samples, of one model or (T, …) of several; empty without samples."""
    if not sums:
        return {}
    found = {"loss": sums["loss"] / sums["divisor"], **task.metrics(sums)}
    return {name: value.float() for name, value in found.items()}
