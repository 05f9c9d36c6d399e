"""Whether the gradients that train a model are those of its loss: autograd against central differences."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlcourse.tasks.base import Batch

#: h of a central difference in float64: the error of its formula, h², and that of rounding, 1e-16/h, are small. The
#: second is tried where the first disagrees: a corner (ReLU, a maximum) may lie within it.
STEPS = 1e-5, 1e-7
AWAY = 0.01  # times a standard normal number: how far each parameter is moved first


class Check(NamedTuple):
    """A parameter of a model: how many of its entries were compared, their largest gradient, the worst difference."""

    name: str
    entries: int
    largest: float
    worst: float

    @property
    def error(self) -> float:
        """The worst difference as a share of the largest gradient; 0 where both ways find none."""
        return self.worst / self.largest if self.largest else self.worst


def gradient_check(model: Any, batch: Batch, entries: int = 50, seed: int = 0) -> Iterator[Check]:
    """Compare ∂C/∂v with (C(v + h) − C(v − h))/2h at up to ``entries`` random places of each trained parameter v.

    In float64 and in training mode; chance (dropout) falls the same way each time. The model becomes
    float64, and its parameters are moved by ``AWAY``: one that starts at w = 0 would be checked on the very corner of
    the perceptron's loss. (torch.autograd.gradcheck says whether all entries agree, not how far each parameter is off.)
    Lecture: L13.
    """
    model.double().train()
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += AWAY * torch.randn(p.shape, generator=chance, dtype=p.dtype)
    x, y = (v.double() if v.is_floating_point() else v for v in (batch.x, batch.y))
    batch = batch._replace(x=x, y=y)

    def cost() -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return model.loss_of(batch).loss

    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(cost(), [p for _, p in named])
    for (name, p), gradient in zip(named, gradients, strict=True):
        chosen = torch.randperm(p.numel(), generator=chance)[:entries]
        exact, largest, worst = gradient.flatten()[chosen].tolist(), float(gradient.abs().max()), 0.0
        for place, value in zip(chosen.tolist(), exact, strict=True):
            slope = _slope(cost, p, place, STEPS[0])
            if abs(slope - value) > 1e-6 * largest:
                finer = _slope(cost, p, place, STEPS[1])
                slope = finer if abs(finer - value) < abs(slope - value) else slope
            largest, worst = max(largest, abs(slope)), max(worst, abs(slope - value))
        yield Check(name, len(chosen), largest, worst)


@torch.no_grad()
def _slope(cost: Callable[[], Tensor], p: Tensor, place: int, h: float) -> float:
    at = tuple(int(k) for k in torch.unravel_index(torch.tensor(place), p.shape))
    kept = p[at].clone()
    p[at] = kept + h
    above = cost()
    p[at] = kept - h
    below = cost()
    p[at] = kept
    return float((above - below) / (2 * h))
