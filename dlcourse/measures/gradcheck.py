"""Check the gradients of a model's loss: autograd against central differences."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlcourse.tasks.base import Batch

#: Steps h of the central differences in float64, where both the truncation error h² and the rounding error 1e-16/h
#: are small. The second is tried where the first disagrees: a kink (ReLU, a maximum) may lie within it.
STEPS = 1e-5, 1e-7
NOISE = 0.01  # standard deviation of the random change of the parameters before the check


class Check(NamedTuple):
    """A checked parameter: the number of entries compared, their largest gradient, the largest difference."""

    name: str
    entries: int
    largest: float
    worst: float

    @property
    def error(self) -> float:
        """The largest difference relative to the largest gradient; 0 if both gradients are 0."""
        return self.worst / self.largest if self.largest else self.worst


def gradient_check(model: Any, batch: Batch, entries: int = 50, seed: int = 0) -> Iterator[Check]:
    """Compare ∂C/∂v with (C(v + h) − C(v − h))/2h at up to ``entries`` random entries of each trained parameter v.

    In float64 and in training mode, with the same random numbers (dropout) each time. The model becomes float64, and
    its parameters are changed by noise of size ``NOISE``, because w = 0 lies on the kink of the perceptron's loss.
    (torch.autograd.gradcheck reports whether all entries agree, not how far each parameter is off.)
    Lecture: L13.
    """
    model.double().train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += NOISE * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    x, y = (v.double() if v.is_floating_point() else v for v in (batch.x, batch.y))
    batch = batch._replace(x=x, y=y)

    def cost() -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return model.loss_of(batch).loss

    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(cost(), [p for _, p in named])
    for (name, p), gradient in zip(named, gradients, strict=True):
        checked = torch.randperm(p.numel(), generator=generator)[:entries]
        autograd_values, largest, worst = gradient.flatten()[checked].tolist(), float(gradient.abs().max()), 0.0
        for entry, value in zip(checked.tolist(), autograd_values, strict=True):
            slope = _slope(cost, p, entry, STEPS[0])
            if abs(slope - value) > 1e-6 * largest:
                finer_slope = _slope(cost, p, entry, STEPS[1])
                slope = finer_slope if abs(finer_slope - value) < abs(slope - value) else slope
            largest, worst = max(largest, abs(slope)), max(worst, abs(slope - value))
        yield Check(name, len(checked), largest, worst)


@torch.no_grad()
def _slope(cost: Callable[[], Tensor], p: Tensor, entry: int, h: float) -> float:
    index = tuple(int(k) for k in torch.unravel_index(torch.tensor(entry), p.shape))
    original = p[index].clone()
    p[index] = original + h
    above = cost()
    p[index] = original - h
    below = cost()
    p[index] = original
    return float((above - below) / (2 * h))
