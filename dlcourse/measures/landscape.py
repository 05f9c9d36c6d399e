"""The loss around a trained model, on a plane through its weights."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlcourse.measures import Measure
from dlcourse.models.functional import loss_with
from dlcourse.runs.files import write_json
from dlcourse.tasks.base import Batch


def directions(model: Any, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two random directions in weight space; for each unit (filter) as long as its own weights.

    Biases and normalisation stay fixed. Li et al. (2018), Visualizing the Loss Landscape of Neural Nets.
    """
    generator = torch.Generator().manual_seed(seed)
    both: list[dict[str, Tensor]] = []
    for _ in range(2):
        direction = {}
        for name, parameter in model.named_parameters():
            w = parameter.detach()
            d = torch.randn(w.shape, generator=generator).to(w)
            lengths = [v.flatten(1).norm(dim=1).reshape(-1, *[1] * (w.ndim - 1)) for v in (w, d)] if w.ndim > 1 else []
            direction[name] = d * lengths[0] / lengths[1] if lengths else torch.zeros_like(w)
        both.append(direction)
    return both[0], both[1]


def plane(model: Any, batch: Batch, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """C(α, β): the loss of a batch at w + α d₁ + β d₂, as a differentiable function of a pair (2,)."""
    model = deepcopy(model).eval()
    w = {name: p.detach() for name, p in model.named_parameters()}
    one, two = directions(model, seed)

    def cost(point: Tensor) -> Tensor:
        weights = {name: w[name] + point[0] * one[name] + point[1] * two[name] for name in w}
        return loss_with(model, weights, batch).loss

    return cost


class Landscape(Measure):
    """RUN/landscape.json: the loss of ``rows`` training samples at ``points``² points of a random plane through w.

    The plane extends ``reach`` times the length of each unit's weights to both sides. ``rim_loss`` is the median loss
    at the ends of the two axes: how steeply the valley rises. The report plots the plane. Lecture: L12.
    """

    def __init__(self, points: int = 25, reach: float = 1.0, rows: int = 256, seed: int = 0):
        self.points, self.reach, self.rows, self.seed = points, reach, rows, seed

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        cost = plane(model, data.sets["train"].first(self.rows).to(model.device), self.seed)
        coordinates = torch.linspace(-self.reach, self.reach, self.points).tolist()
        with torch.no_grad():
            loss = [[float(cost(torch.tensor([a, b]).to(model.device))) for a in coordinates] for b in coordinates]
        write_json(Path(model.trainer.default_root_dir) / "landscape.json", {"places": coordinates, "loss": loss})
        middle = self.points // 2
        ends = torch.tensor([loss[middle][0], loss[middle][-1], loss[0][middle], loss[-1][middle]])
        return {"rim_loss": float(ends.median())}
