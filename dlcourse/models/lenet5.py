"""LeNet-5."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model


class LeNet5(Model):
    """Two 5×5 convolutions (6 and 16 maps) with average pooling, then dense layers of 120 and 84 units.

    For pictures of 28×28 (padded to the 32×32 of the paper) or 32×32, of any number of channels. The output layer
    is dense rather than radial basis functions. Lecture: L17. LeCun, Bottou, Bengio and Haffner 1998.
    """

    def __init__(self, shape: Sequence[int], outputs: int, activation: Any, **parts: Any):
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] not in (28, 32):
            raise ValueError(
                f"model=lenet5 expects pictures (C, 28, 28) or (C, 32, 32); the data's shape is {shape}; try model=cnn"
            )
        f1, f2, f3, f4 = one_a_layer(activation, 4)
        network = nn.Sequential(
            nn.Conv2d(shape[0], 6, 5, padding=(32 - shape[1]) // 2),
            f1(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            f2(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            f3(),
            nn.Linear(120, 84),
            f4(),
            nn.Linear(84, outputs),
        )
        super().__init__(network, shape=shape, outputs=outputs, **parts)
