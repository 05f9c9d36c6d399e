"""Activations that PyTorch lacks; conf/activation/ names PyTorch's own classes directly."""

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
