"""What a model answers on the test set: its outputs, where it errs, and what it does in between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlcourse.runs.inference import ask, chosen, grid

GRID = 160  # points along each side of a decision map


@dataclass
class Answers:
    """Test inputs x, targets y, logits z and outputs a = ``model.output(z)``, row by row, on the CPU."""

    x: Tensor
    y: Tensor
    z: Tensor
    a: Tensor
    task: str
    names: list[str]
    probabilities: bool

    @property
    def true(self) -> Tensor:
        """The class of each row (N,)."""
        return self.y if self.task == "classes" else (self.y[:, 0] > 0.5).long()

    @property
    def predicted(self) -> Tensor:
        """The class that the model gives each row (N,): argmax z, or z > 0 where there is one output."""
        return chosen(self.z)

    @property
    def score(self) -> Tensor:
        """What the model gives each class (N, C): its probability where the loss has one, else z."""
        shown = self.a if self.probabilities else self.z
        if self.task == "classes":
            return shown
        return torch.cat([1 - shown if self.probabilities else 0 - shown, shown], 1)

    def confusion(self) -> np.ndarray:
        """Rows of the test set counted by true class (down) and predicted class (across), (C, C)."""
        n = len(self.names)
        return torch.bincount(self.true * n + self.predicted, minlength=n * n).reshape(n, n).numpy()

    def worst(self, limit: int) -> list[int]:
        """The wrong rows, worst first: by how far z of the predicted class lies above z of the true one."""
        z = self.z.double() if self.task == "classes" else torch.cat([-self.z, self.z], 1).double()
        rows = torch.arange(len(z))
        lead = z[rows, self.predicted] - z[rows, self.true]
        wrong = (self.predicted != self.true).nonzero()[:, 0]
        order = lead[wrong].nan_to_num(nan=torch.inf).argsort(descending=True, stable=True)
        return wrong[order[:limit]].tolist()


def answer(model: Any, data: Any) -> Answers:
    """The model's answers on the whole test set."""
    test = data.sets["test"]
    z, a = ask(model, test.x)
    names = [str(name) for name in data.classes or []] or [str(k) for k in range(max(data.outputs, 2))]
    return Answers(test.x, test.y, z, a, data.task, names, bool(getattr(model.loss, "probabilities", False)))


@dataclass
class Map:
    """A decision map: the ``classes`` and how sure the model is (0 … 1), (GRID, GRID) each, over ``extent``."""

    extent: tuple[float, float, float, float]
    classes: np.ndarray
    sure: np.ndarray


def decision_map(model: Any, answers: Answers) -> Map:
    """The model's answer at every point of the plane around the test points, inputs (N, 2)."""
    places, extent = grid(answers.x, GRID)
    z, a = ask(model, places)
    there = Answers(z, z, z, a, answers.task, answers.names, answers.probabilities)
    sure = there.score.amax(1).nan_to_num(0).clamp(0, 1) if answers.probabilities else torch.ones(len(z))
    return Map(extent, chosen(z).reshape(GRID, GRID).numpy(), sure.reshape(GRID, GRID).numpy())


def curve(model: Any, answers: Answers, points: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """The fitted function (points,), (points, K) over the range of inputs (N, 1)."""
    x = torch.linspace(float(answers.x.min()), float(answers.x.max()), points).unsqueeze(1)
    return x[:, 0].numpy(), ask(model, x)[1].numpy()


def is_picture(shape: Sequence[int]) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3)


def filters(model: Any, shape: Sequence[int], limit: int) -> np.ndarray | None:
    """The first layer's weights as pictures (n, C, H, W), C in 1, 3, if that layer looks at pictures."""
    has_weights: Callable[[nn.Module], bool] = lambda part: any(True for _ in part.parameters(recurse=False))  # noqa: E731
    first = next(filter(has_weights, model.network.modules()), None)
    if not is_picture(shape):
        return None
    if isinstance(first, nn.Linear) and first.in_features == prod(shape):
        weights = first.weight.reshape(-1, *shape)
    elif isinstance(first, nn.Conv2d) and first.weight.shape[1] in (1, 3):
        weights = first.weight
    else:
        return None
    return weights[:limit].detach().float().cpu().numpy()
