"""The convolutional network, for sequences (C, T) and pictures (C, H, W)."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import nn

from dlcourse.models.base import Model, one_a_layer


class CNN(Model):
    """Blocks of convolution, normalisation, activation and max pooling, then dense layers.

    A kernel's weights are shared across space: the same features are found wherever they lie. ``channels`` lists
    the maps of each block, ``hidden`` the dense widths after them. One activation for all, or a list over blocks and
    hidden layers. Lecture: L7.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int],
        hidden: Sequence[int],
        activation: Any,
        kernel: int = 3,
        pool: int = 2,
        dropout: float = 0.0,
        norm: str | None = "batch",
        **parts: Any,
    ):
        if len(shape) not in (2, 3):
            raise ValueError(f"model=cnn expects sequences (C, T) or pictures (C, H, W); the data's shape is {shape}")
        if norm not in ("batch", None):
            raise ValueError(f"model.norm={norm}: expected batch or null")
        two_d = len(shape) == 3
        conv, pooling = (nn.Conv2d, nn.MaxPool2d) if two_d else (nn.Conv1d, nn.MaxPool1d)
        batch_norm = nn.BatchNorm2d if two_d else nn.BatchNorm1d
        f = iter(one_a_layer(activation, len(channels) + len(hidden)))
        maps, *size = shape
        layers: list[nn.Module] = []
        for filters in channels:
            layers.append(conv(maps, filters, kernel, padding=kernel // 2))
            size = [(n + 2 * (kernel // 2) - kernel + 1) // pool for n in size]
            if min(size) < 1:
                raise ValueError(
                    f"model.channels={list(channels)} pools {list(shape)} down to nothing: "
                    "fewer channels entries, or a smaller model.pool or model.kernel"
                )
            if norm is not None:
                layers.append(batch_norm(filters))
            layers += [next(f)(), pooling(pool)]
            maps = filters
        layers.append(nn.Flatten())
        width = maps * prod(size)
        for units in hidden:
            layers += [nn.Linear(width, units), next(f)()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = units
        layers.append(nn.Linear(width, outputs))
        super().__init__(nn.Sequential(*layers), shape=shape, outputs=outputs, **parts)
