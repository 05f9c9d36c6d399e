"""How the output reacts to a small change of the weights, and whether a network is more than a linear map."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jvp

from dlcourse.measures import Measure

SAMPLES = 200  # of the test set
DOUBLINGS = 8


class LinearEstimate(Measure):
    """Δoutput ≈ Σ ∂output/∂v Δv, for a random change of all parameters v by a fraction ``step`` of their length.

    ``error_ratio``: the error of the estimate divided by that for half the change: 4 if it is of second order (0: no
    error). ``largest_change``: max |Δoutput| over the samples. ``first_change``: the same for the smallest change of
    the weights, doubling ``step`` each time, that changes any output. In float64. Lecture: L3.
    """

    def __init__(self, step: float = 0.01, seed: int = 0):
        self.step, self.seed = step, seed

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        model = deepcopy(model).double()
        x = data.sets["test"].x[:SAMPLES].to(model.device, torch.float64)
        v = {name: p.detach() for name, p in model.named_parameters()}
        generator = torch.Generator().manual_seed(self.seed)
        delta = {}
        for name, p in v.items():
            direction = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.device)
            delta[name] = self.step * direction * p.norm() / direction.norm()

        def output(parameters: dict[str, Tensor]) -> Tensor:
            return model.output(functional_call(model, parameters, (x,)))

        output_before, slope = jvp(output, (v,), (delta,))  # type: ignore[misc]

        def output_change(fraction: float) -> Tensor:
            return output({name: v[name] + fraction * delta[name] for name in v}) - output_before

        whole, half = (float((output_change(fraction) - fraction * slope).norm()) for fraction in (1.0, 0.5))
        changes = (float(output_change(2.0**k).abs().max()) for k in range(DOUBLINGS))
        return {
            "error_ratio": whole / half if half else 0.0,
            "largest_change": float(output_change(1.0).abs().max()),
            "first_change": next((change for change in changes if change > 1e-6), 0.0),
        }


class Linearity(Measure):
    """``nonlinearity``: ‖f(x + x') − f(x) − f(x') + f(0)‖ / ‖f(x) − f(0)‖, which is 0 for an affine map.

    f returns the logits; x and x' are test samples. In float64. Lecture: L8a.
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        model = deepcopy(model).double()
        x = data.sets["test"].x[: 2 * SAMPLES].to(model.device, torch.float64)
        first, second = x[: len(x) // 2], x[len(x) // 2 : len(x) // 2 * 2]
        with torch.no_grad():
            at_zero = model(torch.zeros_like(first))
            deviation = model(first + second) - model(first) - model(second) + at_zero
            return {"nonlinearity": float(deviation.norm() / (model(first) - at_zero).norm())}
