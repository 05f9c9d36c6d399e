"""Metrics of one pass over the data, summed on the device and read once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

HELD_ROWS = 1024
HELD_OUTPUTS = 2**20  # numbers, for samples with many outputs
AUXILIARY = "auxiliary/"


def exact(values: Tensor) -> Tensor:
    """The values in float64, or in float32 on an Apple GPU, which has no float64."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def real(x: Tensor) -> Tensor:
    """In float32, or as it is in float64, which data has where float32 would lose digits."""
    return x if x.dtype == torch.float64 else x.float()


def joined(parts: Sequence[Any], dim: int = 0) -> Any:
    """Batches one after another: tensors, or tuples of them field by field."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts), dim)
    fields = [joined(field, dim) for field in zip(*parts, strict=True)]
    return type(parts[0])._make(fields) if hasattr(parts[0], "_make") else tuple(fields)


def detached(output: Any) -> Any:
    """A model's output without its graph: a tensor, or a NamedTuple field by field."""
    return output.detach() if isinstance(output, Tensor) else output._make(part.detach() for part in output)


def samples(target: Any) -> int:
    """The number of samples in a target, a tensor or a tuple of them."""
    return len(target) if isinstance(target, Tensor) else samples(target[0])


def numbers(output: Any) -> int:
    """How many numbers an output holds, a tensor or a tuple of them."""
    return output.numel() if isinstance(output, Tensor) else sum(map(numbers, output))


class Metrics:
    """The mean loss, and what a task adds up, over all rows seen since the last ``compute``.

    Only sums are kept, so that a metric over several processes is exact whatever the batch sizes. Batches are kept
    until there are about a thousand samples or a million outputs, and summed together, so that small steps stay fast.
    ``read`` turns outputs into readable predictions, for tasks that compare those.
    """

    def __init__(self, task: Any, read: Callable[[Any], Tensor]):
        self.task, self.read = task, read
        self.sums: dict[str, Tensor] = {}
        self.held: list[tuple[Tensor, int | Tensor, Any, Any, Mapping[str, Tensor]]] = []
        self.rows = self.outputs = 0  # of the batches held: samples, and numbers in their outputs
        self.batch: int | None = None

    def update(
        self,
        loss: Tensor,
        divisor: int | Tensor,
        output: Any,
        target: Any,
        batch: int | None = None,
        auxiliary: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Add one batch: its loss and what that was divided by, its outputs and targets.

        ``auxiliary``: the parts of the loss that the model adds, each a mean over samples; they are metrics too. The
        same batch again replaces the earlier one: L-BFGS evaluates a batch several times a step.
        """
        if batch is not None and batch == self.batch:
            replaced = self.held.pop()
            self.rows -= samples(replaced[3])
            self.outputs -= numbers(replaced[2])
        elif self.rows >= HELD_ROWS or self.outputs >= HELD_OUTPUTS:
            self.total()
        self.held.append((loss, divisor, output, target, auxiliary or {}))
        self.rows += samples(target)
        self.outputs += numbers(output)
        self.batch = batch

    def total(self) -> dict[str, Tensor]:
        """The sums over all batches, pending ones included; after this no batch can be replaced."""
        parts = [part for part in self.held if samples(part[3])]  # a process without samples left has empty ones
        self.held, self.rows, self.outputs, self.batch = [], 0, 0, None
        if not parts:
            return self.sums
        losses, divisors, outputs, targets, auxiliary = zip(*parts, strict=True)
        loss = exact(torch.stack(losses))
        weighted = isinstance(divisors[0], Tensor)
        divisor = exact(torch.stack(divisors)) if weighted else torch.tensor(divisors, device=loss.device)
        n = torch.tensor([samples(part) for part in targets], device=loss.device)
        for name in auxiliary[0]:
            values = exact(torch.stack([part[name] for part in auxiliary]))
            loss = loss - values
            self._add(AUXILIARY + name, values * n)
        self._add("loss", loss * divisor)
        self._add("divisor", divisor)
        self._add("n", n)
        for name, value in self.task.statistics(joined(outputs), joined(targets), self.read).items():
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
    own = {name: value / sums["n"] for name, value in sums.items() if name.startswith(AUXILIARY)}
    loss = sums["loss"] / sums["divisor"] + sum(own.values())
    found = {"loss": loss, **{name.removeprefix(AUXILIARY): v for name, v in own.items()}, **task.metrics(sums)}
    return {name: value.float() for name, value in found.items()}
