"""A model with an output of several fields and a loss of its own, a task that answers otherwise, rows with weights."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlcourse.data.tabular import Iris
from dlcourse.models.mlp import MLP
from dlcourse.tasks.supervised import Classification


class Both(NamedTuple):
    z: Tensor
    squares: Tensor


class Penalised(MLP):
    """Its loss is the task's plus ``spread``, 0.01 · mean z²; its output holds z² too."""

    def forward(self, x: Tensor) -> Both:
        z = super().forward(x)
        return Both(z, z.square())

    def auxiliary_losses(self, output: Both) -> dict[str, Tensor]:
        return {"spread": 0.01 * output.squares.mean()}


class Reversed(Classification):
    """Answers with −z, so that it picks the class that the model holds for the least likely."""

    def answer(self, model: Any, inputs: Any) -> Tensor:
        return -model(inputs)


class WeightedIris(Iris):
    """The k-th row of each part counts k % 3 + 1 times."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        for rows in self.sets.values():
            rows.weight = torch.arange(len(rows)) % 3 + 1.0
