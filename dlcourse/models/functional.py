"""The loss of a batch as a function of parameters, for torch.func: gradients of many models, planes of weights."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from dlcourse.models.base import BatchLoss, Model
from dlcourse.tasks.base import Batch


class LossOfBatch(nn.Module):
    """A model that is called with a batch."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> BatchLoss:
        return self.model.loss_of(batch)


def loss_with(model: Any, weights: Mapping[str, Tensor], batch: Batch) -> BatchLoss:
    """The loss of a batch with other values for some parameters and buffers, by name."""
    named = {f"model.{name}": value for name, value in weights.items()}
    found: BatchLoss = functional_call(LossOfBatch(model), named, (batch,))
    return found
