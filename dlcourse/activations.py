"""Activations that PyTorch lacks; conf/activation/ names PyTorch's own classes directly."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Step(nn.Module):
    """The perceptron's unit: it fires when the weighted input is above zero.

    a = 1 if z > 0 else 0, elementwise; any shape, the dtype of z; range {0, 1}.
    A tie z = 0 does not fire. The derivative is 0 wherever it exists, so the output is detached: the layers before a
    hidden step receive no gradient and stay as they were initialised (Rosenblatt's fixed first layer).

    Lecture: L1. McCulloch and Pitts (1943); Rosenblatt (1958).
    """

    def forward(self, z: Tensor) -> Tensor:
        return torch.gt(z, 0).to(z.dtype)


def one_a_layer(activation: Any, layers: int) -> list[Callable[[], nn.Module]]:
    """The hidden layers' activation factories: one for all, or a list with one for each."""
    if not isinstance(activation, Sequence):
        return [activation] * layers
    if len(activation) != layers:
        raise ValueError(f"model.activation lists {len(activation)} for {layers} hidden layers")
    return list(activation)
