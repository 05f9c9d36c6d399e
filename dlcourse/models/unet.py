"""The U-Net: an encoder of convolutions, a decoder back to the picture's size, and a bridge at each size."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model
from dlcourse.models.cnn import check_norm


class UNet(Model):
    """Pictures (N, C, H, W) to z (N, H, W, outputs): what surrounds a pixel, and the detail that pooling loses.

    ``channels`` lists the maps at each size, the picture's own first; each next one has half the sides. On the way down
    and up each size has two convolutions of 3 × 3 (padded with zeros, so that the size stays), each with ``norm`` and
    activation. One activation for all, or a list over the sizes on the way down, then up. ``norm``: batch or null.
    Lecture: L7. Ronneberger, Fischer and Brox (2015).
    ValueError: data that are not pictures, or whose sides cannot be halved that often.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int],
        activation: Any,
        norm: str | None = "batch",
        **parts: Any,
    ):
        check_norm(norm)
        parts_of_side = 2 ** (len(channels) - 1)
        if len(shape) != 3 or not channels or shape[1] % parts_of_side or shape[2] % parts_of_side:
            raise ValueError(
                f"model.channels={list(channels)} halves pictures (C, H, W) {len(channels) - 1} times; the data's "
                f"shape is {tuple(shape)}: fewer channels, or other data"
            )
        factories = one_a_layer(activation, 2 * len(channels) - 1)
        network = Halving(shape[0], outputs, channels, factories, norm is not None)
        super().__init__(network, shape=shape, outputs=outputs, **parts)


class Halving(nn.Module):
    """The network of a `UNet`; outputs are the last dimension."""

    def __init__(self, inputs: int, outputs: int, channels: Sequence[int], activations: Sequence[Any], norm: bool):
        super().__init__()
        sizes = len(channels)
        maps = [inputs, *channels]
        self.down = nn.ModuleList(double(maps[k], maps[k + 1], activations[k], norm) for k in range(sizes))
        self.pool = nn.MaxPool2d(2)
        upwards = range(sizes - 2, -1, -1)
        self.widen = nn.ModuleList(nn.ConvTranspose2d(channels[k + 1], channels[k], 2, 2) for k in upwards)
        f_up = activations[sizes:]
        self.up = nn.ModuleList(
            double(2 * channels[k], channels[k], f, norm) for k, f in zip(upwards, f_up, strict=True)
        )
        self.last = nn.Conv2d(channels[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        bridges: list[Tensor] = []
        for k, block in enumerate(self.down):
            x = block(self.pool(x) if k else x)
            bridges.append(x)
        bridges.pop()
        for widen, block in zip(self.widen, self.up, strict=True):
            x = block(torch.cat([bridges.pop(), widen(x)], 1))
        z: Tensor = self.last(x)
        return z.permute(0, 2, 3, 1)


def double(inputs: int, maps: int, activation: Any, norm: bool) -> nn.Sequential:
    """Two convolutions of 3 × 3, each with normalisation and activation."""
    layers: list[nn.Module] = []
    for width in (inputs, maps):
        layers.append(nn.Conv2d(width, maps, 3, padding=1, bias=not norm))  # batch norm has a bias of its own
        layers += [nn.BatchNorm2d(maps), activation()] if norm else [activation()]
    return nn.Sequential(*layers)
