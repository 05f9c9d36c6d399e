"""How the output answers to a small change of the weights, and whether depth is more than one linear map."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jvp

from dlcourse.measures import Measure

ROWS = 200  # of the test set
DOUBLINGS = 8


class LinearEstimate(Measure):
    """Δoutput ≈ Σ ∂output/∂v Δv, for a random change of all parameters v by the share ``step`` of their length.

    ``error_ratio``: the error of the estimate, by that of half the change: 4 where it is of second order (0: no error).
    ``largest_change``: max |Δoutput| of the rows. ``first_change``: the same for the smallest change of the weights,
    ``step`` doubled again and again, that any output answers to. In float64. Lecture: L3.
    """

    def __init__(self, step: float = 0.01, seed: int = 0):
        self.step, self.seed = step, seed

    def figures(self, model: Any, data: Any) -> dict[str, float]:
        model = deepcopy(model).double()
        x = data.sets["test"].x[:ROWS].to(model.device, torch.float64)
        v = {name: p.detach() for name, p in model.named_parameters()}
        chance = torch.Generator().manual_seed(self.seed)
        delta = {}
        for name, p in v.items():
            direction = torch.randn(p.shape, generator=chance, dtype=torch.float64).to(p.device)
            delta[name] = self.step * direction * p.norm() / direction.norm()

        def output(parameters: dict[str, Tensor]) -> Tensor:
            return model.output(functional_call(model, parameters, (x,)))

        before, slope = jvp(output, (v,), (delta,))  # type: ignore[misc]

        def moved(share: float) -> Tensor:
            return output({name: v[name] + share * delta[name] for name in v}) - before

        whole, half = (float((moved(share) - share * slope).norm()) for share in (1.0, 0.5))
        changes = (float(moved(2.0**k).abs().max()) for k in range(DOUBLINGS))
        return {
            "error_ratio": whole / half if half else 0.0,
            "largest_change": float(moved(1.0).abs().max()),
            "first_change": next((change for change in changes if change > 1e-6), 0.0),
        }


class Linearity(Measure):
    """How far f(x + x') − f(x) − f(x') + f(0) is from the 0 of an affine map, by the length of f(x) − f(0).

    f gives the logits; x and x' are rows of the test set. In float64. Lecture: L8a.
    """

    def figures(self, model: Any, data: Any) -> dict[str, float]:
        model = deepcopy(model).double()
        x = data.sets["test"].x[: 2 * ROWS].to(model.device, torch.float64)
        one, other = x[: len(x) // 2], x[len(x) // 2 : len(x) // 2 * 2]
        with torch.no_grad():
            nothing = model(torch.zeros_like(one))
            bend = model(one + other) - model(one) - model(other) + nothing
            return {"nonlinearity": float(bend.norm() / (model(one) - nothing).norm())}
